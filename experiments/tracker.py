"""The one writer of MLflow, which mirrors committed cycles from disk.

The records on disk are the truth, so MLflow may be down, deleted or late: `Tracker.mirror` logs what MLflow does not
have yet of a run, in a live experiment as in `decomp sync`. Doing it again adds nothing, because every metric carries
the time at which its cycle was committed.
"""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from decomp.experiments import entries
from decomp.experiments.annotations import regions_table
from decomp.experiments.comparison import Comparison, compare
from decomp.experiments.entries import DIGEST, FIGURE, GROUP, KEY, MIRRORED
from decomp.experiments.figures import learning_curves
from decomp.experiments.mlflow_experiment import SQLITE, MlflowExperiment, artifact_folder
from decomp.experiments.pictures import picture_of_cycle
from decomp.experiments.report import Report, summary_markdown
from decomp.platform.datasets.base import Dataset
from decomp.platform.registry import UserError
from decomp.platform.spec import RunSpec
from decomp.platform.store import CycleFolder, RunStore

COMPARISON = "comparison"
"""Name and key of the run with the final tables."""

ABOUT = (
    "To see scores over annotation, search the charts for `miou` (of ROIs `weighted_f1`) and set the x-axis to the "
    "metric `annotated_ppm` (parts per million of the pool's pixels or ROIs; of its slides: `annotated_images_ppm`); "
    "steps are cycles. One parent run per sampler and budget, with means "
    "over its repeats once they are complete; one child run per seed and fold; `comparison` has the final tables."
)
"""Description of the experiment."""

UI_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # seven more processes, for evaluations of language models
    "PYTHONWARNINGS": "ignore",
}


def tracking_uri(storage: Path) -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, else the SQLite file ``mlflow.db`` in the folder of all results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{storage.absolute() / 'mlflow.db'}"


def ui_command(uri: str, port: int) -> list[str]:
    """Command line of an MLflow server that shows a local store on the loopback interface; see `ui_environment`.

    Raises:
        UserError: if the store is a server, which has pages of its own.
    """
    if uri.startswith(("http://", "https://")):
        raise UserError(f"{uri} is a server with pages of its own; open that address in a browser.")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--registry-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = artifact_folder(uri)
    if folder is not None:
        command += ["--artifacts-destination", folder.as_uri()]
    return [*command, "--uvicorn-opts", "--log-level warning"]


def ui_environment() -> dict[str, str]:
    """This process's environment with settings for `ui_command` that make it start faster and say less."""
    return UI_SETTINGS | os.environ


class Tracker:
    """Writes to one experiment of MLflow; one at a time may do so.

    Args:
        uri: tracking URI; a SQLite file is made where missing, and artifacts go beside it.
        experiment: name of the experiment, made where missing.
        metric: the test metric of learning curves.
        verbose: whether MLflow may write to the console.
    """

    def __init__(self, uri: str, experiment: str, *, metric: str, verbose: bool = False) -> None:
        self._mlflow = MlflowExperiment(uri, experiment, ABOUT, verbose=verbose)
        self._metric = metric

    def mirror(self, run: RunStore, dataset: Dataset) -> None:
        """Log the committed cycles that MLflow does not have yet; nothing for a shared first cycle or before cycle 1.

        Args:
            run: a run or reference, with the planned number of cycles.
            dataset: its data set, for pictures and the names of classes.
        """
        folders = run.committed()
        if run.spec.kind == "first" or not folders:
            return
        found = self._mlflow.find(KEY, run.spec.key) or self._create_child(run.spec, folders[0])
        run_id, tags = found.info.run_id, found.data.tags
        done = int(tags.get(MIRRORED, 0))
        if done == 0:
            self._mlflow.log_parameters(run_id, run.spec.identity())
        for folder in folders[done:]:
            self._mirror_cycle(run, folder, run_id, dataset)
        if not run.finished:
            if found.info.status != "RUNNING":  # it goes on: its experiment file asks for more cycles now
                self._mlflow.resume(run_id)
        elif found.info.status != "FINISHED" or done < len(folders):
            if run.spec.kind == "run":
                self._mlflow.log_files(run_id, {"learning_curve.png": learning_curves(compare([run], self._metric))})
            self._mlflow.finish(run_id, folders[-1].timing.committed_at)

    def summarise(self, report: Report, classes: Sequence[str]) -> None:
        """Log means over repeats into the parents whose runs are all finished, and the report into a run of its own.

        MLflow cannot change what is logged, so a summary whose content has changed replaces the run that showed it.

        Args:
            report: what to log.
            classes: class names.
        """
        groups: dict[str, list[RunStore]] = {}
        for run in report.runs:
            if run.spec.kind != "first":
                groups.setdefault(entries.group_key(run.spec), []).append(run)
        for runs in groups.values():
            if all(run.finished for run in runs):
                self._summarise_group(runs, report.comparison, classes)
        if any(result.cycles for budget in report.comparison.budgets for result in budget.samplers):
            self._write_comparison(report)

    def _create_child(self, spec: RunSpec, first: CycleFolder) -> Any:
        timing = first.timing
        start = timing.committed_at - round(1000 * sum(timing.phases.values()))
        parent = self._mlflow.find(GROUP, entries.group_key(spec))
        if parent is None:
            parent = self._mlflow.create(entries.group_name(spec), entries.group_tags(spec), start)
            self._mlflow.log_parameters(parent.info.run_id, _shared(spec))
        tags = entries.run_tags(spec) | {"mlflow.parentRunId": parent.info.run_id}
        return self._mlflow.create(entries.run_name(spec), tags, start)

    def _mirror_cycle(self, run: RunStore, folder: CycleFolder, run_id: str, dataset: Dataset) -> None:
        record = folder.record
        files = {f"regions/cycle-{record.cycle:04d}.parquet": folder.regions_file.read_bytes()}
        table = regions_table(dataset, folder.ledger.annotations())
        files[f"regions/cycle-{record.cycle:04d}.csv"] = table.encode()
        if run.spec.kind == "run":
            ledger = run.ledger([run.cycle(number) for number in range(1, record.cycle + 1)])
            picture = picture_of_cycle(dataset, ledger, record.cycle)
            if picture is not None:
                files[f"pictures/cycle-{record.cycle:04d}.png"] = picture
        self._mlflow.log_files(run_id, files)
        self._mlflow.log_points(run_id, entries.cycle_points(record, folder.timing, dataset.classes))
        # Last, so that an interrupted cycle is mirrored again.
        self._mlflow.log_tags(run_id, entries.cycle_tags(run, folder))

    def _summarise_group(self, runs: Sequence[RunStore], comparison: Comparison, classes: Sequence[str]) -> None:
        spec = runs[0].spec
        folders = [run.committed() for run in runs]
        points = entries.mean_points(
            [[p for f in own for p in entries.cycle_points(f.record, f.timing, classes)] for own in folders],
            spread_of=folders[0][0].record.metrics,
        )
        digest = _digest(repr([(point.key, point.step, point.value) for point in points]).encode())
        parents = self._mlflow.search(GROUP, entries.group_key(spec))
        if not parents:
            return
        known = next((parent for parent in parents if parent.data.tags.get(DIGEST) == digest), None)
        if known is not None:
            self._log_figure(known, spec, comparison)
            return
        # One without a digest is the live parent, or a replacement that was interrupted.
        fresh = [parent for parent in parents if DIGEST not in parent.data.tags]
        parent = (
            fresh[0]
            if fresh
            else self._mlflow.create(entries.group_name(spec), entries.group_tags(spec), parents[0].info.start_time)
        )
        run_id = parent.info.run_id
        self._mlflow.log_parameters(run_id, _shared(spec))
        self._mlflow.log_points(run_id, points)
        self._log_figure(parent, spec, comparison)
        self._adopt(run_id, runs)
        for stale in parents:
            if stale.info.run_id != run_id:
                self._mlflow.delete(stale.info.run_id)
        self._mlflow.finish(run_id, max(own[-1].timing.committed_at for own in folders))
        # Last, so that an interrupted summary is written again.
        self._mlflow.log_tags(run_id, {"repeats": str(len(runs)), DIGEST: digest})

    def _log_figure(self, parent: Any, spec: RunSpec, comparison: Comparison) -> None:
        """All samplers of the parent's budget, unlike metrics replaceable."""
        if spec.budget is None:
            return
        figure = learning_curves(comparison, [spec.budget.label])
        if parent.data.tags.get(FIGURE) != _digest(figure):
            self._mlflow.log_files(parent.info.run_id, {"learning_curves.png": figure})
            self._mlflow.log_tags(parent.info.run_id, {FIGURE: _digest(figure)})

    def _adopt(self, parent_id: str, runs: Sequence[RunStore]) -> None:
        for run in runs:
            child = self._mlflow.find(KEY, run.spec.key)
            if child is not None and child.data.tags.get("mlflow.parentRunId") != parent_id:
                self._mlflow.log_tags(child.info.run_id, {"mlflow.parentRunId": parent_id})

    def _write_comparison(self, report: Report) -> None:
        files = {file.name: file.read_bytes() for file in report.files}
        digest = _digest(*files.values())
        stale = self._mlflow.search(KEY, COMPARISON)
        if any(run.data.tags.get(DIGEST) == digest for run in stale):
            return
        now = time.time_ns() // 1_000_000
        note = summary_markdown(report.comparison)
        tags = {KEY: COMPARISON, "kind": COMPARISON, "mlflow.source.name": "decomp", "mlflow.note.content": note}
        run_id = self._mlflow.create(COMPARISON, tags, now).info.run_id
        self._mlflow.log_files(run_id, files)
        self._mlflow.log_points(run_id, entries.summary_points(report.comparison, now))
        self._mlflow.log_tags(run_id, {DIGEST: digest})
        self._mlflow.finish(run_id, now)
        for run in stale:
            self._mlflow.delete(run.info.run_id)


def _shared(spec: RunSpec) -> dict[str, Any]:
    """What the repeats of a run have in common of its identity."""
    return {key: value for key, value in spec.identity().items() if key not in ("seed", "fold")}


def _digest(*contents: bytes) -> str:
    return hashlib.blake2b(b"".join(contents), digest_size=12).hexdigest()
