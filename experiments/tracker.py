"""The one writer of MLflow, which mirrors committed cycles from disk.

The records on disk are the truth, so MLflow may be down, deleted or late: `Tracker.mirror` logs what MLflow does not
have yet of a run, in a live experiment as in `decomp sync`. Doing it again adds nothing, because every metric carries
the time at which its cycle was committed.
"""

import fcntl
import hashlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from decomp.experiments import entries
from decomp.experiments.comparison import Comparison, compare
from decomp.experiments.entries import DIGEST, FIGURE, GROUP, KEY, MIRRORED, Point
from decomp.experiments.figures import learning_curves
from decomp.experiments.pictures import picture_of_cycle
from decomp.experiments.report import Report, summary_markdown
from decomp.platform.datasets.base import Dataset
from decomp.platform.registry import UserError
from decomp.platform.spec import RunSpec
from decomp.platform.store import CycleFolder, RunStore

MAX_METRICS, MAX_STRINGS, MAX_PARAMETER_LENGTH = 1000, 100, 6000
"""What MLflow takes in one call: metrics, parameters or tags, and characters of a parameter."""

SQLITE = "sqlite:///"
COMPARISON = "comparison"

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # whoever calls tries again later
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
QUIET_SETTINGS = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
QUIET_LOGGERS = ("mlflow", "alembic", "urllib3.connectionpool")


def tracking_uri(storage: Path) -> str:
    """``MLFLOW_TRACKING_URI`` where it is set, else the SQLite file ``mlflow.db`` in the folder of all results."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{storage.absolute() / 'mlflow.db'}"


def ui_command(uri: str, port: int) -> list[str]:
    """Command line of an MLflow server that shows a local store on the loopback interface.

    Raises:
        UserError: if the store is a server, which has pages of its own.
    """
    if uri.startswith(("http://", "https://")):
        raise UserError(f"{uri} is a server with pages of its own; open that address in a browser.")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    folder = _artifact_folder(uri)
    if folder is not None:
        command += ["--artifacts-destination", folder.as_uri()]
    return [*command, "--uvicorn-opts", "--log-level warning"]


class Tracker:
    """Writes to one experiment of MLflow; one at a time may do so.

    Args:
        uri: tracking URI; a SQLite file is made where missing, and artifacts go beside it.
        experiment: name of the experiment, made where missing.
        metric: the test metric of learning curves.
        verbose: whether MLflow may write to the console.
    """

    def __init__(self, uri: str, experiment: str, *, metric: str = "miou", verbose: bool = False) -> None:
        self.uri = uri
        self.experiment = experiment
        self.metric = metric
        self._verbose = verbose

    def mirror(self, run: RunStore, dataset: Dataset) -> None:
        """Log the committed cycles that MLflow does not have yet; nothing for a shared first cycle or before cycle 1.

        Args:
            run: a run or reference, with the planned number of cycles.
            dataset: its data set, for pictures and the names of classes.
        """
        folders = run.committed()
        if run.spec.kind == "first" or not folders:
            return
        found = self._find(KEY, run.spec.key) or self._create_child(run.spec, folders[0])
        run_id, tags = found.info.run_id, found.data.tags
        done = int(tags.get(MIRRORED, 0))
        if done == 0:
            self._log_parameters(run_id, run.spec.identity())
        for folder in folders[done:]:
            self._mirror_cycle(run, folder, run_id, dataset)
        if not run.finished:
            if found.info.status != "RUNNING":  # it goes on: its experiment file asks for more cycles now
                self._client.update_run(run_id, status="RUNNING")
        elif found.info.status != "FINISHED" or done < len(folders):
            if run.spec.kind == "run":
                self._log_files(run_id, {"learning_curve.png": learning_curves(compare([run], self.metric))})
            self._client.set_terminated(run_id, "FINISHED", end_time=folders[-1].timing.committed_at)

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

    @cached_property
    def _client(self) -> Any:
        for name, value in (SETTINGS if self._verbose else SETTINGS | QUIET_SETTINGS).items():
            os.environ.setdefault(name, value)
        if not self._verbose:
            for logger in QUIET_LOGGERS:
                logging.getLogger(logger).setLevel(logging.CRITICAL)
        # Imported here, because it takes seconds and nobody but this class needs it.
        mlflow = importlib.import_module("mlflow")
        with _alone(self.uri):
            return mlflow.MlflowClient(self.uri)

    @cached_property
    def _experiment_id(self) -> str:
        with _alone(self.uri):
            found = self._client.get_experiment_by_name(self.experiment)
            if found is None:
                folder = _artifact_folder(self.uri)
                location = (folder / self.experiment).as_uri() if folder else None
                return str(self._client.create_experiment(self.experiment, artifact_location=location))
            if found.lifecycle_stage == "deleted":
                self._client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)

    def _search(self, tag: str, value: str) -> list[Any]:
        """The runs with this value of a tag."""
        return list(self._client.search_runs([self._experiment_id], f"tags.`{tag}` = '{value}'"))

    def _find(self, tag: str, value: str) -> Any:
        """A run with this value of a tag, or None."""
        return next(iter(self._search(tag, value)), None)

    def _create(self, name: str, tags: Mapping[str, str], start: int) -> Any:
        return self._client.create_run(self._experiment_id, start_time=start, tags=dict(tags), run_name=name)

    def _create_child(self, spec: RunSpec, first: CycleFolder) -> Any:
        timing = first.timing
        start = timing.committed_at - round(1000 * sum(timing.phases.values()))
        parent = self._find(GROUP, entries.group_key(spec))
        if parent is None:
            parent = self._create(entries.group_name(spec), entries.group_tags(spec), start)
            self._log_parameters(parent.info.run_id, _shared(spec))
        tags = entries.run_tags(spec) | {"mlflow.parentRunId": parent.info.run_id}
        return self._create(entries.run_name(spec), tags, start)

    def _mirror_cycle(self, run: RunStore, folder: CycleFolder, run_id: str, dataset: Dataset) -> None:
        record = folder.record
        files = {f"regions/cycle-{record.cycle:04d}.parquet": folder.regions_file.read_bytes()}
        if run.spec.kind == "run":
            ledger = run.ledger([run.cycle(number) for number in range(1, record.cycle + 1)])
            picture = picture_of_cycle(dataset, ledger, record.cycle)
            if picture is not None:
                files[f"pictures/cycle-{record.cycle:04d}.png"] = picture
        self._log_files(run_id, files)
        self._log_points(run_id, entries.cycle_points(record, folder.timing, dataset.classes))
        # Last, so that an interrupted cycle is mirrored again.
        self._log_tags(run_id, entries.cycle_tags(run, folder))

    def _summarise_group(self, runs: Sequence[RunStore], comparison: Comparison, classes: Sequence[str]) -> None:
        spec = runs[0].spec
        folders = [run.committed() for run in runs]
        points = entries.mean_points(
            [[p for f in own for p in entries.cycle_points(f.record, f.timing, classes)] for own in folders],
            spread_of=folders[0][0].record.metrics,
        )
        digest = _digest(repr([(point.key, point.step, point.value) for point in points]).encode())
        parents = self._search(GROUP, entries.group_key(spec))
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
            else self._create(entries.group_name(spec), entries.group_tags(spec), parents[0].info.start_time)
        )
        run_id = parent.info.run_id
        self._log_parameters(run_id, _shared(spec))
        self._log_points(run_id, points)
        self._log_figure(parent, spec, comparison)
        self._adopt(run_id, runs)
        for stale in parents:
            if stale.info.run_id != run_id:
                self._client.delete_run(stale.info.run_id)
        self._client.set_terminated(run_id, "FINISHED", end_time=max(own[-1].timing.committed_at for own in folders))
        # Last, so that an interrupted summary is written again.
        self._log_tags(run_id, {"repeats": str(len(runs)), DIGEST: digest})

    def _log_figure(self, parent: Any, spec: RunSpec, comparison: Comparison) -> None:
        """All samplers of the parent's budget, unlike metrics replaceable."""
        if spec.budget is None:
            return
        figure = learning_curves(comparison, [spec.budget.label])
        if parent.data.tags.get(FIGURE) != _digest(figure):
            self._log_files(parent.info.run_id, {"learning_curves.png": figure})
            self._log_tags(parent.info.run_id, {FIGURE: _digest(figure)})

    def _adopt(self, parent_id: str, runs: Sequence[RunStore]) -> None:
        for run in runs:
            child = self._find(KEY, run.spec.key)
            if child is not None and child.data.tags.get("mlflow.parentRunId") != parent_id:
                self._client.set_tag(child.info.run_id, "mlflow.parentRunId", parent_id)

    def _write_comparison(self, report: Report) -> None:
        files = {file.name: file.read_bytes() for file in report.files}
        digest = _digest(*files.values())
        stale = self._search(KEY, COMPARISON)
        if any(run.data.tags.get(DIGEST) == digest for run in stale):
            return
        now = time.time_ns() // 1_000_000
        note = summary_markdown(report.comparison)
        tags = {KEY: COMPARISON, "kind": COMPARISON, "mlflow.source.name": "decomp", "mlflow.note.content": note}
        run_id = self._create(COMPARISON, tags, now).info.run_id
        self._log_files(run_id, files)
        self._log_points(run_id, entries.summary_points(report.comparison, now))
        self._log_tags(run_id, {DIGEST: digest})
        self._client.set_terminated(run_id, "FINISHED", end_time=now)
        for run in stale:
            self._client.delete_run(run.info.run_id)

    def _log_parameters(self, run_id: str, identity: Mapping[str, Any]) -> None:
        entities = importlib.import_module("mlflow.entities")
        flat = entries.parameters(identity)
        for part in _parts([entities.Param(k, v[:MAX_PARAMETER_LENGTH]) for k, v in flat.items()], MAX_STRINGS):
            self._client.log_batch(run_id, params=part)

    def _log_points(self, run_id: str, points: Sequence[Point]) -> None:
        entities = importlib.import_module("mlflow.entities")
        metrics = [entities.Metric(p.key, p.value, p.timestamp, p.step) for p in points]
        for part in _parts(metrics, MAX_METRICS):
            self._client.log_batch(run_id, metrics=part)

    def _log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        entities = importlib.import_module("mlflow.entities")
        for part in _parts([entities.RunTag(k, v) for k, v in tags.items()], MAX_STRINGS):
            self._client.log_batch(run_id, tags=part)

    def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="decomp-"))
        try:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
            self._client.log_artifacts(run_id, str(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _shared(spec: RunSpec) -> dict[str, Any]:
    """What the repeats of a run have in common of its identity."""
    return {key: value for key, value in spec.identity().items() if key not in ("seed", "fold")}


def _artifact_folder(uri: str) -> Path | None:
    """Where the artifacts of a SQLite store go; elsewhere the server decides."""
    file = _sqlite_file(uri)
    return file.parent / "mlartifacts" if file else None


def _sqlite_file(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Keep other experiments off a SQLite file: two that create or migrate it together break it."""
    file = _sqlite_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.with_name(f".{file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _digest(*contents: bytes) -> str:
    return hashlib.blake2b(b"".join(contents), digest_size=12).hexdigest()


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
