"""One experiment of MLflow and how runs of it are found and written; the only module that imports MLflow."""

import importlib
import json
import logging
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from decomp.experiments.tracking.fields import Point
from decomp.experiments.tracking.uris import artifact_folder, sqlite_file, sqlite_uri
from decomp.platform.storage.files import flock

MAX_METRICS, MAX_STRINGS, MAX_PARAMETER_LENGTH = 1000, 100, 6000
"""What MLflow takes in one call: metrics, parameters or tags, and characters of a parameter."""

MAX_DIGEST_LENGTH = 36
"""Most characters that MLflow takes in a data set's digest."""

PRIMARY_METRIC = "mlflow.experiment.primaryMetric.name"
"""Tag of an experiment that says by which metric its runs are judged."""

SOURCE_TYPE = "decomp"
"""What MLflow's pages call the source of a data set that is one of decomp's components."""

CALLS_AT_ONCE = 4
"""Calls under way at a time: one with metrics, the others with files."""

SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # whoever calls tries again later
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""Settings of the first call, in place of those above: a server that takes it and says nothing is given up sooner."""

QUIET_SETTINGS = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true", "MLFLOW_CONFIGURE_LOGGING": "false"}
QUIET_LOGGERS = ("mlflow", "alembic", "urllib3.connectionpool")


class MlflowExperiment:
    """An experiment of MLflow, created if missing; nothing is imported or contacted before its first use.

    Args:
        uri: tracking URI; a SQLite file is made where missing, and artifacts go beside it.
        name: name of the experiment.
        tags: its tags; those that an existing experiment lacks are added.
        verbose: whether MLflow may write to the console.
    """

    def __init__(self, uri: str, name: str, tags: Mapping[str, str], *, verbose: bool = False) -> None:
        self._uri = uri
        self._name = name
        self._tags = tags
        self._verbose = verbose

    def search(self, tag: str, value: str) -> list[Any]:
        """The runs with this value of a tag."""
        return list(self._client.search_runs([self._experiment_id], f"tags.`{tag}` = '{value}'"))

    def find(self, tag: str, value: str) -> Any:
        """A run with this value of a tag, or None."""
        return next(iter(self.search(tag, value)), None)

    def create(self, name: str, tags: Mapping[str, str], start: int) -> Any:
        """A new run that started at a time in milliseconds."""
        return self._client.create_run(self._experiment_id, start_time=start, tags=dict(tags), run_name=name)

    def finish(self, run_id: str, end: int) -> None:
        """Mark a run as finished at a time in milliseconds; it takes further points all the same."""
        self._client.set_terminated(run_id, "FINISHED", end_time=end)

    def resume(self, run_id: str) -> None:
        """Mark a finished run as going on."""
        self._client.update_run(run_id, status="RUNNING")

    def delete(self, run_id: str) -> None:
        """Move a run to MLflow's bin."""
        self._client.delete_run(run_id)

    def log_parameters(self, run_id: str, parameters: Mapping[str, str]) -> None:
        """Log parameters; MLflow refuses changed ones."""
        entities = importlib.import_module("mlflow.entities")
        for batch in _batches(
            [entities.Param(k, v[:MAX_PARAMETER_LENGTH]) for k, v in parameters.items()], MAX_STRINGS
        ):
            self._client.log_batch(run_id, params=batch)

    def log_points(self, run_id: str, points: Sequence[Point]) -> None:
        """Log metrics."""
        entities = importlib.import_module("mlflow.entities")
        metrics = [entities.Metric(p.key, p.value, p.timestamp, p.step) for p in points]
        for batch in _batches(metrics, MAX_METRICS):
            self._client.log_batch(run_id, metrics=batch)

    def log_dataset(self, run_id: str, name: str, digest: str, source: Mapping[str, str]) -> None:
        """Log what a run was trained on, so that the pages show and filter by it; doing it again adds nothing."""
        entities = importlib.import_module("mlflow.entities")
        dataset = entities.Dataset(name, digest[:MAX_DIGEST_LENGTH], SOURCE_TYPE, json.dumps(source, sort_keys=True))
        context = entities.InputTag("mlflow.data.context", "training")
        self._client.log_inputs(run_id, [entities.DatasetInput(dataset, [context])])

    def log_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags."""
        entities = importlib.import_module("mlflow.entities")
        for batch in _batches([entities.RunTag(k, v) for k, v in tags.items()], MAX_STRINGS):
            self._client.log_batch(run_id, tags=batch)

    def log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
        """Write files, by their paths below the run's artifacts."""
        self.log(run_id, [], files.items())

    def log(self, run_id: str, points: Sequence[Point], files: Iterable[tuple[str, bytes]]) -> None:
        """Log metrics and write files side by side, while further files are being made.

        Args:
            run_id: the run.
            points: the metrics.
            files: paths below the run's artifacts and contents, taken one after the other.
        """

        def upload(name: str) -> None:
            above = str(PurePosixPath(name).parent)
            self._client.log_artifact(run_id, str(folder / name), None if above == "." else above)

        with tempfile.TemporaryDirectory(prefix="decomp-") as temporary, ThreadPoolExecutor(CALLS_AT_ONCE) as workers:
            folder = Path(temporary)
            begun = [workers.submit(self.log_points, run_id, points)]
            for name, content in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
                begun.append(workers.submit(upload, name))
            for call in begun:
                call.result()

    @cached_property
    def _client(self) -> Any:
        for name, value in (SETTINGS if self._verbose else SETTINGS | QUIET_SETTINGS).items():
            os.environ.setdefault(name, value)
        if not self._verbose:
            for logger in QUIET_LOGGERS:
                logging.getLogger(logger).setLevel(logging.CRITICAL)
        # Imported here, because it takes seconds and nobody but this class needs it.
        mlflow = importlib.import_module("mlflow")
        with _alone(self._uri):
            file = sqlite_file(self._uri)
            if file is not None and not file.exists():
                # Made elsewhere and renamed: MLflow cannot take up again what was interrupted while it made its tables.
                # Under another name each time, for in one process it goes on with a file of the same name.
                for stale in file.parent.glob(f".{file.name}.draft-*"):
                    stale.unlink()
                draft = file.with_name(f".{file.name}.draft-{uuid.uuid4().hex}")
                mlflow.MlflowClient(sqlite_uri(draft)).search_experiments(max_results=1)
                draft.replace(file)
            return mlflow.MlflowClient(self._uri)

    @cached_property
    def _experiment_id(self) -> str:
        with _alone(self._uri):
            client = self._client
            with _first_contact():
                experiment = client.get_experiment_by_name(self._name)
            if experiment is None:
                folder = artifact_folder(self._uri)
                # The kind makes MLflow show its pages for trainings rather than for chats.
                tags = {"mlflow.experimentKind": "custom_model_development", **self._tags}
                location = (folder / self._name).as_uri() if folder else None
                return str(self._client.create_experiment(self._name, location, tags))
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            for key, value in self._tags.items():
                if key not in experiment.tags:
                    self._client.set_experiment_tag(experiment.experiment_id, key, value)
            return str(experiment.experiment_id)


def calls(sizes: Sequence[int]) -> Iterator[slice]:
    """Neighbours whose points MLflow takes in one call together.

    Args:
        sizes: number of points of each; one with too many is alone and takes several calls.
    """
    start, total = 0, 0
    for end, size in enumerate(sizes):
        if end > start and total + size > MAX_METRICS:
            yield slice(start, end)
            start, total = end, 0
        total += size
    if sizes:
        yield slice(start, len(sizes))


def look_up(uri: str, name: str) -> tuple[str, dict[str, str]] | None:
    """Id and tags of an experiment in a SQLite file, read without importing MLflow; None where there is none."""
    file = sqlite_file(uri)
    if file is None or not file.is_file():
        return None
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as store:
            found = store.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
            query = "SELECT key, value FROM experiment_tags WHERE experiment_id = ?"
            return (str(found[0]), dict(store.execute(query, found))) if found else None
    except sqlite3.Error:  # it is another version's, or no store at all; MLflow's server says what is wrong
        return None


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Keep other experiments off a SQLite file: two that create or migrate it together break it."""
    file = sqlite_file(uri)
    if file is None:
        yield
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.exists():
        with file.open("r+b"):  # where it cannot be written, MLflow would try for minutes
            pass
    with flock(file.with_name(f".{file.name}.lock"), wait=True):
        yield


@contextmanager
def _first_contact() -> Iterator[None]:
    """Wait less long for an answer, unless the user has set how long."""
    changed = {name: value for name, value in FIRST_CONTACT.items() if os.environ.get(name) == SETTINGS[name]}
    os.environ |= changed
    try:
        yield
    finally:
        os.environ |= {name: SETTINGS[name] for name in changed}


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
