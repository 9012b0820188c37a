"""What mirroring to MLflow costs at scale: many committed runs into a tracking server on PostgreSQL.

    python -m decomp.experiments.bench.mirroring [--runs 500] [--cycles 40] [--metrics 60] [--sqlite-runs 20]

Records that nobody computed are committed to a temporary folder and mirrored by the tracker as `decomp sync` does, with
tables, pictures and the report, into

- an MLflow server on a PostgreSQL database, both started here on this machine alone (goal: minutes);
- `--sqlite-runs` of them into a SQLite file, which is what a user has without `MLFLOW_TRACKING_URI`;
- two of them into the same server as `MlflowClient` suggests: a call per metric, parameter, tag and file.

Prints seconds, metrics and files per second, rows of the tables, the size of the database and this process's peak
memory. At the end the first is mirrored again, which must add nothing. With `--keep` the server stays until Enter is
pressed, so that its pages can be looked at.

PostgreSQL is `apt-get install postgresql` or the like, its driver `pip install decomp[bench]`.
"""

import argparse
import hashlib
import importlib
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from decomp.experiments.bench.servers import (
    database_megabytes,
    postgres,
    postgres_programs,
    table_rows,
    tracking_server,
)
from decomp.experiments.report.report import Report, compile_report
from decomp.experiments.report.run_history import read_histories
from decomp.experiments.tracking import fields
from decomp.experiments.tracking.tracker import Tracker
from decomp.experiments.tracking.uris import SQLITE
from decomp.platform.datasets import Dataset, Split
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region
from decomp.platform.spec import RunSpec
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.location import Location
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.storage.runs import RunStore

METRIC = "miou"
SAMPLERS = ("rand", "uncert", "divers-cluster", "badge", "decomp")
N_REGION, REGION = (2, 5), (16, 16)
"""Two budgets: regions in each of the two images of a cycle; and their pixels."""

IMAGES, SHAPE = 100, (96, 192)
PLAIN_RUNS = 2
PHASES = {"predict": 20.0, "select": 1.0, "train": 300.0, "evaluate": 10.0}
BEGAN = 1_700_000_000_000
"""Time of the first commit in milliseconds."""


@dataclass(frozen=True)
class Plots(Dataset):
    """Images of noise, alike but for their names.

    Attributes:
        n_classes: number of classes.
    """

    n_classes: int = 10

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]
        """As many as wanted."""
        return tuple(f"class {c}" for c in range(self.n_classes))

    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        """The same number in every split."""
        return tuple(f"{split}-{k:03d}" for k in range(IMAGES))

    def shape(self, image: str) -> tuple[int, ...]:
        """The same for all."""
        return SHAPE

    def image(self, image: str) -> npt.NDArray[np.uint8]:
        """Noise."""
        return np.random.default_rng(int(image[-3:])).integers(0, 255, (*SHAPE, 3), np.uint8)

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """A class per stripe."""
        stripes = np.arange(SHAPE[1]) // 16 % self.n_classes
        return np.broadcast_to(stripes, SHAPE).astype(np.uint8)

    def fingerprint(self) -> str:
        """Says how many classes there are."""
        return f"plots-{self.n_classes}"


@dataclass(frozen=True)
class Outcome:
    """What mirroring took.

    Attributes:
        points: metrics that were to be logged, the means of the parents not counted.
        files: files that were to be logged.
        mirroring: seconds for the runs.
        summary: seconds for means over repeats and the comparison.
    """

    points: int
    files: int
    mirroring: float
    summary: float


def main() -> None:
    """Commit, mirror and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--cycles", type=int, default=40)
    parser.add_argument("--metrics", type=int, default=60, help="metrics per cycle")
    parser.add_argument("--sqlite-runs", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="keep the server until Enter is pressed")
    options = parser.parse_args()
    try:
        measure(options.runs, options.cycles, options.metrics, options.sqlite_runs, keep=options.keep)
    except UserError as error:
        sys.exit(f"error: {error}")


def measure(n_runs: int, cycles: int, metrics: int, sqlite_runs: int, *, keep: bool) -> None:
    """Run all measurements and print them."""
    programs = postgres_programs()
    with tempfile.TemporaryDirectory(prefix="decomp-") as name:
        folder = FilePath(name)
        dataset = Plots(classes_for(metrics))
        start = time.perf_counter()
        runs = commit_runs(folder / "results", dataset, n_runs, cycles)
        print(f"{n_runs} runs of {cycles} cycles committed in {time.perf_counter() - start:.0f} s", flush=True)
        start = time.perf_counter()
        report = compile_report(read_histories(runs), folder / "report", METRIC).write()
        print(f"their report written in {time.perf_counter() - start:.0f} s", flush=True)
        with postgres(programs, folder) as database, tracking_server(database, folder) as address:
            _print("PostgreSQL server", n_runs, mirror(address, "mirroring", runs, report, dataset))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            rows = table_rows(database)
            print(f"  rows: {', '.join(f'{count:,} {table}' for table, count in rows.items())}")
            print(f"  database {database_megabytes(database):.0f} MB, greatest memory of this process {peak:.2f} GB")
            start = time.perf_counter()
            again = mirror(address, "mirroring", runs, report, dataset)
            print(f"  again: {again.mirroring + again.summary:.1f} s, {_added(rows, table_rows(database))}", flush=True)
            few = runs[:sqlite_runs]
            store = f"{SQLITE}{folder / 'sqlite' / 'mlflow.db'}"
            part = compile_report(read_histories(few), folder / "part", METRIC).write()
            _print("SQLite file", len(few), mirror(store, "mirroring", few, part, dataset))
            _print("a call each", PLAIN_RUNS, mirror_plainly(address, runs[:PLAIN_RUNS], dataset))
            if keep:
                input(f"{address} stays until you press Enter")


def mirror(uri: str, experiment: str, runs: Sequence[RunStore], report: Report, dataset: Dataset) -> Outcome:
    """Mirror runs and their report as `decomp sync` does."""
    tracker = Tracker(uri, experiment, metric=METRIC)
    start = time.perf_counter()
    for number, run in enumerate(runs, start=1):
        tracker.mirror(run, dataset)
        if number % 50 == 0:
            print(f"  {number} runs after {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    mirrored = time.perf_counter()
    tracker.summarise(report, dataset.classes)
    return Outcome(*_volume(runs, dataset), mirrored - start, time.perf_counter() - mirrored)


def mirror_plainly(uri: str, runs: Sequence[RunStore], dataset: Dataset) -> Outcome:
    """The same metrics, parameters and tags and as many files, but a call for each; without pictures drawn."""
    client = importlib.import_module("mlflow").MlflowClient(uri)
    experiment = client.create_experiment("a call each")
    start = time.perf_counter()
    for run in runs:
        run_id = client.create_run(experiment).info.run_id
        for key, value in fields.run_parameters(run.spec).items():
            client.log_param(run_id, key, value)
        for folder in run.committed():
            record, timing = folder.record, folder.timing
            for point in fields.run_points(run.spec, record, timing, dataset.classes):
                client.log_metric(run_id, point.key, point.value, point.timestamp, point.step)
            for kind in ("parquet", "csv", "png"):
                client.log_artifact(run_id, str(folder.regions_file), f"cycle-{record.cycle:04d}-{kind}")
            for key, value in fields.cycle_tags(run.spec, record, timing).items():
                client.set_tag(run_id, key, value)
    return Outcome(*_volume(runs, dataset), time.perf_counter() - start, 0.0)


def classes_for(metrics: int) -> int:
    """How many classes make that many metrics per cycle, at most.

    Raises:
        UserError: if a single class already makes more.
    """
    one, two = (_metrics_of(n) for n in (1, 2))
    if metrics < one:
        raise UserError(f"--metrics {metrics}: a cycle has at least {one}; ask for more.")
    return 1 + (metrics - one) // (two - one)


def commit_runs(root: Location, dataset: Plots, n_runs: int, cycles: int) -> list[RunStore]:
    """Commit runs that nobody computed; samplers and budgets alternate, the seed grows."""
    runs = []
    for number in range(n_runs):
        seed, pair = divmod(number, len(SAMPLERS) * len(N_REGION))
        budget, sampler = divmod(pair, len(SAMPLERS))
        spec = RunSpec(
            "run",
            Component("plots", {"n_classes": dataset.n_classes}),
            dataset.fingerprint(),
            Component("learner", {"iterations": 1000, "batch": 8}),
            seed,
            budget=Budget(2, N_REGION[budget], REGION),
            sampler=Sampler(SAMPLERS[sampler], Component("entropy"), Component("entropy")),
            cycles=cycles,
        )
        run = RunStore(root, spec)
        for cycle in range(1, cycles + 1):
            _commit(run, cycle, dataset.n_classes)
        runs.append(run)
    return runs


def _commit(run: RunStore, cycle: int, n_classes: int) -> None:
    owner = run.first if cycle == 1 else run
    run.create()
    owner.create()
    if cycle == 1 and run.committed():  # by another sampler, they share it
        return
    staged = owner.stage(cycle)
    model = f"{run.spec.key} {cycle}".encode()
    with staged.checkpoint.writing() as file:
        file.write_bytes(model)
    record = fake_record(run.spec, cycle, n_classes, hashlib.sha256(model).hexdigest())
    names = [f"train-{(2 * cycle + k) % IMAGES:03d}" for k in range(2)]
    n_region = run.spec.budget.n_region if run.spec.budget else 0
    regions = [
        Annotation(Region(name, (16 * rank, 16 * (cycle // 50)), REGION), cycle, rank, rank % n_classes)
        for name in names
        for rank in range(n_region)
    ]
    committed_at = BEGAN + 360_000 * cycle + 1_000 * run.spec.seed
    owner.commit(staged, record, Timing(PHASES, committed_at, "bench", "c0ffee"), Ledger.of(regions))


def fake_record(spec: RunSpec, cycle: int, n_classes: int, digest: str) -> CycleRecord:
    """A record whose score rises with the cycle and differs between runs."""
    rng = np.random.default_rng(int(spec.key, 16) + cycle)
    per_cycle = 2 * (spec.budget.n_region if spec.budget else 0)
    pixels = cycle * per_cycle * REGION[0] * REGION[1]
    share = pixels / (IMAGES * SHAPE[0] * SHAPE[1])
    score = 0.8 * (1 - np.exp(-8 * share**0.5)) + rng.normal(0, 0.01)
    weights = rng.dirichlet(np.ones(n_classes))
    names = [f"class {c}" for c in range(n_classes)]
    shares = rng.multinomial(pixels, weights)
    return CycleRecord(
        cycle,
        {METRIC: float(score)},
        {"iou": {name: float(score + rng.normal(0, 0.05)) for name in names}},
        Annotated(
            images=min(IMAGES, 2 * cycle),
            image_share=min(IMAGES, 2 * cycle) / IMAGES,
            regions=cycle * per_cycle,
            pixels=pixels,
            share=share,
            class_pixels=tuple(int(count) for count in shares),
            openings=2 * cycle,
            clicks=3 * cycle * per_cycle,
        ),
        None if cycle == 1 else tuple(float(value) for value in rng.random(n_classes)),
        None if cycle == 1 else tuple(float(value) for value in weights),
        digest,
    )


def _metrics_of(n_classes: int) -> int:
    spec = RunSpec("run", Component("plots"), "", Component("learner"), 0, budget=Budget(2, 2, REGION))
    names = Plots(n_classes).classes
    return len(fields.run_points(spec, fake_record(spec, 2, n_classes, ""), Timing(PHASES, BEGAN, "", ""), names))


def _volume(runs: Sequence[RunStore], dataset: Dataset) -> tuple[int, int]:
    """Metrics and files of the runs."""
    points = files = 0
    for run in runs:
        for folder in run.committed():
            points += len(fields.run_points(run.spec, folder.record, folder.timing, dataset.classes))
            files += 3
    return points, files


def _print(name: str, n_runs: int, outcome: Outcome) -> None:
    rate, files = outcome.points / outcome.mirroring, outcome.files / outcome.mirroring
    print(
        f"{name:18s}{n_runs:5d} runs {outcome.points:9,d} metrics {outcome.files:7,d} files "
        f"{outcome.mirroring:7.1f} s {rate:7,.0f} metrics/s {files:5,.0f} files/s, summary {outcome.summary:.1f} s",
        flush=True,
    )


def _added(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    added = {table: after[table] - count for table, count in before.items() if after[table] != count}
    return ", ".join(f"{count:+,} {table}" for table, count in added.items()) or "no row added"


if __name__ == "__main__":
    main()
