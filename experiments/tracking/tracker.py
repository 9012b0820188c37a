"""The one writer of MLflow, which mirrors committed cycles from disk.

The records on disk are the truth, so MLflow may be down, deleted or late: `Tracker.mirror` logs what MLflow does not
have yet of a run, in a live experiment as in `decomp sync`. Doing it again adds nothing, because every metric carries
the time at which its cycle was committed.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from decomp.experiments.report.comparison import compare
from decomp.experiments.report.console_tables import summary_markdown
from decomp.experiments.report.figures import GREY
from decomp.experiments.report.learning_curve_figure import learning_curve_drawing
from decomp.experiments.report.pictures import picture_of_cycle
from decomp.experiments.report.report import Report
from decomp.experiments.report.run_history import RunHistory, read_histories
from decomp.experiments.tracking import fields
from decomp.experiments.tracking.fields import DIGEST, FIGURE, GROUP, KEY, MIRRORED
from decomp.experiments.tracking.mlflow_experiment import PRIMARY_METRIC, MlflowExperiment, calls, look_up
from decomp.experiments.tracking.regions_csv import regions_table
from decomp.experiments.tracking.uris import artifact_folder, without_passwords
from decomp.platform.datasets.base import Dataset
from decomp.platform.errors import UserError
from decomp.platform.ledger import Ledger
from decomp.platform.spec import RunSpec
from decomp.platform.storage.runs import RunStore

COMPARISON = "comparison"
"""Name and key of the run with the final tables."""

ABOUT = (
    "Charts: `curves` are test scores whose step is what was annotated (`ppm`: parts per million of the pool's pixels "
    "or ROIs, or of its images; clicks; how often an image was opened); all other steps are cycles. One parent run per "
    "sampler and budget, with means over its repeats once they are complete; one child run per seed and fold "
    "(`s1 f0`); "
    "`comparison` has the final tables and figures. To filter: `params.budget = '...'`, `tags.kind = 'run'` (repeats), "
    "`tags.kind = 'mean'` (parents); to group: `sampler`."
)
"""Description of the experiment."""

UI_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes, for evaluations of language models
    "PYTHONWARNINGS": "ignore",
}


def ui_command(uri: str, port: int) -> list[str]:
    """Command line of an MLflow server that shows a local store on the loopback interface; see `ui_environment`.

    Raises:
        UserError: if the store is a server, which has pages of its own.
    """
    if uri.startswith(("http://", "https://")):
        raise UserError(f"{without_passwords(uri)} is a server with pages of its own; open that address in a browser.")
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = artifact_folder(uri)
    if folder is not None:
        command += ["--artifacts-destination", folder.as_uri()]
    return [*command, "--uvicorn-opts", "--log-level warning"]


def charts_address(uri: str, experiment: str, port: int) -> str | None:
    """Address of an experiment's charts in the pages of `ui_command`: the means over repeats, the best first.

    None where the store has no such experiment yet, or is no SQLite file.
    """
    known = look_up(uri, experiment)
    if known is None:
        return None
    number, tags = known
    return f"http://127.0.0.1:{port}/#/experiments/{number}/runs?{fields.charts_query(tags.get(PRIMARY_METRIC))}"


def ui_environment(uri: str) -> dict[str, str]:
    """This process's environment with settings for `ui_command`: the store, whose password a command line would show
    to all users of this machine, and what makes it start faster and say less.
    """
    return UI_SETTINGS | os.environ | {"MLFLOW_BACKEND_STORE_URI": uri, "MLFLOW_REGISTRY_STORE_URI": uri}


@dataclass
class _Child:
    """What MLflow has of a run.

    Attributes:
        run_id: its id in MLflow.
        parent_id: that of its parent.
        mirrored: number of cycles.
        finished: whether it is marked as finished.
    """

    run_id: str
    parent_id: str
    mirrored: int
    finished: bool


class Tracker:
    """Writes to one experiment of MLflow; one at a time may do so.

    Args:
        uri: tracking URI; a SQLite file is made where missing, and artifacts go beside it.
        experiment: name of the experiment, made where missing.
        metric: the test metric of learning curves.
        verbose: whether MLflow may write to the console.
    """

    def __init__(self, uri: str, experiment: str, *, metric: str, verbose: bool = False) -> None:
        tags = {"mlflow.note.content": ABOUT, PRIMARY_METRIC: metric}
        self._mlflow = MlflowExperiment(uri, experiment, tags, verbose=verbose)
        self._metric = metric
        self._children: dict[str, _Child] = {}

    def mirror(self, run: RunStore, dataset: Dataset) -> None:
        """Log the committed cycles that MLflow does not have yet; nothing for a shared first cycle or before cycle 1.

        Args:
            run: a run or reference, with the planned number of cycles.
            dataset: its data set, for pictures and the names of classes.
        """
        (history,) = read_histories([run])
        if run.spec.kind == "first" or not history.cycles:
            return
        child = self._child(history)
        grown = child.mirrored < len(history.cycles)
        if child.mirrored == 0:
            self._mlflow.log_parameters(child.run_id, fields.run_parameters(run.spec))
            self._log_dataset(child.run_id, run.spec)
        if grown:
            self._mirror_cycles(history, child, dataset)
        if not history.finished:
            if child.finished:  # it goes on: its experiment file asks for more cycles now
                self._mlflow.resume(child.run_id)
        elif grown or not child.finished:
            if run.spec.kind == "run" and history.records[-1].metrics:
                curve = learning_curve_drawing(compare([history], self._metric)).png
                self._mlflow.log_files(child.run_id, {"learning_curve.png": curve})
            self._mlflow.finish(child.run_id, history.cycles[-1].timing.committed_at)
        child.finished = history.finished

    def summarise(self, report: Report, classes: Sequence[str]) -> None:
        """Log means over repeats into the parents whose runs are all finished, and the report into a run of its own.

        MLflow cannot change what is logged, so a summary whose content has changed replaces the run that showed it.

        Args:
            report: what to log.
            classes: class names.
        """
        groups: dict[str, list[RunHistory]] = {}
        for run in report.histories:
            groups.setdefault(fields.group_key(run.spec), []).append(run)
        figures: dict[str, bytes] = {}
        for runs in groups.values():
            if all(run.finished for run in runs):
                budget = runs[0].spec.budget
                if budget and budget.label not in figures:
                    shown = report.comparison.joint.get(budget.label, budget.label)
                    figures[budget.label] = learning_curve_drawing(report.comparison, [shown]).png
                self._summarise_group(runs, figures.get(budget.label) if budget else None, classes)
        if any(result.cycles for budget in report.comparison.budgets for result in budget.samplers):
            self._write_comparison(report)

    def _child(self, run: RunHistory) -> _Child:
        """What MLflow has of a run, which is made where missing; asked once, since nobody else writes."""
        key = run.spec.key
        if key not in self._children:
            child = self._mlflow.find(KEY, key) or self._create_child(run)
            self._children[key] = _Child(
                child.info.run_id,
                child.data.tags["mlflow.parentRunId"],
                int(child.data.tags.get(MIRRORED, 0)),
                child.info.status == "FINISHED",
            )
        return self._children[key]

    def _create_child(self, run: RunHistory) -> Any:
        spec, timing = run.spec, run.cycles[0].timing
        start = timing.committed_at - round(1000 * sum(timing.phases.values()))
        parent = self._mlflow.find(GROUP, fields.group_key(spec))
        if parent is None:
            parent = self._mlflow.create(fields.group_name(spec), fields.group_tags(spec), start)
            self._mlflow.log_parameters(parent.info.run_id, fields.group_parameters(spec))
            self._log_dataset(parent.info.run_id, spec)
        tags = fields.run_tags(spec) | fields.import_tags(run.imported) | {"mlflow.parentRunId": parent.info.run_id}
        return self._mlflow.create(fields.run_name(spec), tags, start)

    def _mirror_cycles(self, run: RunHistory, child: _Child, dataset: Dataset) -> None:
        """Log the cycles that are missing, as many at a time as MLflow takes in one call."""
        missing = run.cycles[child.mirrored :]
        # Pictures show the earlier regions, too; each file of regions is read once.
        ledger = run.ledger(child.mirrored) if _has_pictures(run.spec) else Ledger()
        points = [fields.run_points(run.spec, cycle.record, cycle.timing, dataset.classes) for cycle in missing]

        def files(part: slice) -> Iterator[tuple[str, bytes]]:
            nonlocal ledger
            for cycle in missing[part]:
                record, fresh = cycle.record, cycle.ledger
                name = f"cycle-{record.cycle:04d}"
                yield f"regions/{name}.parquet", cycle.folder.regions_file.read_bytes()
                yield f"regions/{name}.csv", regions_table(dataset, fresh.annotations()).encode()
                if _has_pictures(run.spec):
                    ledger = ledger.extend(fresh)
                    picture = picture_of_cycle(dataset, ledger.of_images(fresh), record.cycle)
                    if picture is not None:
                        yield f"pictures/{name}.png", picture

        for part in calls([len(of_cycle) for of_cycle in points]):
            self._mlflow.log(child.run_id, list(chain.from_iterable(points[part])), files(part))
            # Last, and it says how far it got, so that interrupted cycles are mirrored again.
            tags = [fields.cycle_tags(run.spec, cycle.record, cycle.timing) for cycle in missing[part]]
            self._mlflow.log_tags(child.run_id, {key: value for of_cycle in tags for key, value in of_cycle.items()})
            child.mirrored += len(tags)

    def _summarise_group(self, runs: Sequence[RunHistory], figure: bytes | None, classes: Sequence[str]) -> None:
        spec = runs[0].spec
        points = fields.mean_points(
            [[p for c in run.cycles for p in fields.run_points(spec, c.record, c.timing, classes)] for run in runs],
            spread_of=runs[0].cycles[0].record.metrics,
        )
        digest = _digest(repr([(point.key, point.step, point.value) for point in points]).encode())
        parents = self._mlflow.search(GROUP, fields.group_key(spec))
        if not parents:
            return
        known = next((parent for parent in parents if parent.data.tags.get(DIGEST) == digest), None)
        if known is not None:
            self._log_figure(known, figure)
            return
        # One without a digest is the live parent, or a replacement that was interrupted.
        fresh = [parent for parent in parents if DIGEST not in parent.data.tags]
        parent = (
            fresh[0]
            if fresh
            else self._mlflow.create(fields.group_name(spec), fields.group_tags(spec), parents[0].info.start_time)
        )
        run_id = parent.info.run_id
        self._mlflow.log_parameters(run_id, fields.group_parameters(spec))
        self._log_dataset(run_id, spec)
        self._mlflow.log_points(run_id, points)
        self._log_figure(parent, figure)
        self._adopt(run_id, runs)
        for stale in parents:
            if stale.info.run_id != run_id:
                self._mlflow.delete(stale.info.run_id)
        self._mlflow.finish(run_id, max(run.cycles[-1].timing.committed_at for run in runs))
        # Last, so that an interrupted summary is written again.
        self._mlflow.log_tags(run_id, {"repeats": str(len(runs)), DIGEST: digest})

    def _log_dataset(self, run_id: str, spec: RunSpec) -> None:
        self._mlflow.log_dataset(run_id, spec.dataset.name, spec.fingerprint, fields.dataset_source(spec))

    def _log_figure(self, parent: Any, figure: bytes | None) -> None:
        """Log the learning curves of the parent's budget, if any; files can be replaced, unlike metrics."""
        if figure is not None and parent.data.tags.get(FIGURE) != _digest(figure):
            self._mlflow.log_files(parent.info.run_id, {"learning_curves.png": figure})
            self._mlflow.log_tags(parent.info.run_id, {FIGURE: _digest(figure)})

    def _adopt(self, parent_id: str, runs: Sequence[RunHistory]) -> None:
        for run in runs:
            child = self._child(run)
            if child.parent_id != parent_id:
                self._mlflow.log_tags(child.run_id, {"mlflow.parentRunId": parent_id})
                child.parent_id = parent_id

    def _write_comparison(self, report: Report) -> None:
        files = report.contents()
        digest = _digest(*files.values())
        written = self._mlflow.search(KEY, COMPARISON)
        if not any(run.data.tags.get(DIGEST) == digest for run in written):
            now = time.time_ns() // 1_000_000
            note = summary_markdown(report.comparison)
            tags = {KEY: COMPARISON, "kind": COMPARISON, "mlflow.source.name": "decomp", "mlflow.note.content": note}
            tags["mlflow.runColor"] = GREY
            run_id = self._mlflow.create(COMPARISON, tags, now).info.run_id
            self._mlflow.log_files(run_id, files)
            self._mlflow.log_points(run_id, fields.summary_points(report.comparison, now))
            self._mlflow.finish(run_id, now)
            # Last, so that an interrupted comparison is written again.
            self._mlflow.log_tags(run_id, {DIGEST: digest})
        for run in written:
            if run.data.tags.get(DIGEST) != digest:
                self._mlflow.delete(run.info.run_id)


def _has_pictures(spec: RunSpec) -> bool:
    """Whether pictures of the regions are logged: not for full annotation, whose regions are whole images."""
    return spec.kind == "run"


def _digest(*contents: bytes) -> str:
    return hashlib.blake2b(b"".join(contents), digest_size=12).hexdigest()
