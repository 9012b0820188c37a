"""The workers of one run as Ray actors: splits tasks by owner, joins answers, survives the loss of a worker."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import ObjectLostError, RayActorError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from typing_extensions import override

from decomp.actors.resources import Resources
from decomp.actors.worker import Job, Worker
from decomp.platform.learners.base import Processes, Training
from decomp.platform.loop.oracle import Revealed
from decomp.platform.loop.proposals import Proposals
from decomp.platform.loop.shard import StaleShard
from decomp.platform.loop.tasks import Checkpoint, ChooseTask, PassStreams, PredictTask
from decomp.platform.loop.workers import Workers, starts
from decomp.platform.predictions import PoolCounts
from decomp.platform.regions import Region
from decomp.platform.storage.location import Location

ATTEMPTS = 10
"""How many times a call is made when its worker is lost: for 48 seconds, of which a lost node's workers need about 15
where the machine has nothing else to do."""

GRACE = 60.0
"""Seconds within which it shows whether a joint training failed by itself or because a worker or its node was lost."""


class LostWorker(Exception):
    """A worker was lost in the same call again and again, or did not come back."""

    def __init__(self, worker: int, method: str, error: Exception) -> None:
        reason = " ".join(str(error).split())[:300]
        super().__init__(f"worker {worker} was lost {ATTEMPTS} times in {method!r}, for lack of memory? ({reason})")


def start_workers(resources: Resources, group: PlacementGroup | None = None) -> list[Any]:
    """Start workers, one per bundle of the placement group; together they serve one run at a time."""
    device = "cuda" if resources.gpus else "cpu"
    # Wrapped here rather than decorated: a decorated class would be pickled by value, copies of its globals included.
    # Calls must not be repeated on a restarted worker behind our back: it has lost its label maps.
    return [
        ray.remote(Worker)
        .options(
            num_cpus=resources.cpus,
            num_gpus=resources.gpus,
            max_restarts=-1,
            max_task_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(group, bundle) if group else "DEFAULT",
        )
        .remote(device)
        for bundle in range(resources.workers)
    ]


class WorkerGroup(Workers):
    """The workers of one run, spread over Ray actors.

    Image k of the pool belongs to worker k modulo the number of workers, always; test images are
    dealt out in the same way. Each worker has at most one call in flight.

    Args:
        workers: handles of `Worker` actors.
        job: whom they work for.
        pool: ids of all images that may be annotated, see `pool_ids`.
        progress: handle of the `ProgressActor`.
        training_workers: how many of the workers train one model together.
    """

    def __init__(
        self, workers: Sequence[Any], job: Job, pool: Sequence[str], progress: Any, training_workers: int = 1
    ) -> None:
        self.workers = workers
        self._training_workers = training_workers
        self._progress = progress
        self._job = job
        self._owner = {image: k % len(workers) for k, image in enumerate(pool)}
        self._predicted: dict[int, PredictTask] = {}

    @override
    def fit(
        self, trainings: Sequence[Training], start: Checkpoint | None, checkpoints: Sequence[Location]
    ) -> Checkpoint:
        """Train as many models at once as there are workers, or one by one where several workers train one together."""
        of_members = list(zip(trainings, starts(start, len(trainings)), checkpoints, strict=True))
        at_once = 1 if self._training_workers > 1 else len(self.workers)
        rounds = [of_members[first : first + at_once] for first in range(0, len(of_members), at_once)]
        models: list[Checkpoint] = []
        for number, trained_at_once in enumerate(rounds):
            part = number / len(rounds), (number + 1) / len(rounds)
            if self._training_workers > 1:
                models += [self._fit_distributed(*of_member, part) for of_member in trained_at_once]
            else:
                calls = {k: (*of_member, self._progress, part) for k, of_member in enumerate(trained_at_once)}
                models += self._call(calls, "fit").values()
        return Checkpoint.joined(models)

    @override
    def predict(self, task: PredictTask) -> PoolCounts:
        self._predicted = {k: replace(task, **share) for k, share in self._split(task.images, task.annotated).items()}
        return PoolCounts.from_arrow(list(self._call(_single(self._predicted), "predict").values()))

    @override
    def choose(self, task: ChooseTask) -> Proposals:
        tasks = {k: replace(task, **share) for k, share in self._split(task.images, task.annotated).items()}
        tables = self._call(_single(tasks), "choose", self._repredict)
        return Proposals.from_arrow(list(tables.values()), task.images)

    @override
    def count_classes(self, images: Sequence[str]) -> npt.NDArray[np.int64]:
        return self._each_image(images, "count_classes", lambda part: (part,))

    @override
    def reveal(self, regions: Sequence[Region]) -> Revealed:
        regions_of: dict[int, list[Region]] = {}
        for region in regions:
            regions_of.setdefault(self._owner[region.image], []).append(region)
        return Revealed.total(list(self._call(_single(regions_of), "reveal").values()))

    @override
    def evaluate(
        self, model: Checkpoint, images: Sequence[str], passes: PassStreams | None = None
    ) -> npt.NDArray[np.int64]:
        return self._each_image(images, "evaluate", lambda part: (model, part, passes))

    def _each_image(
        self, images: Sequence[str], method: str, arguments: Callable[[tuple[str, ...]], tuple[Any, ...]]
    ) -> npt.NDArray[np.int64]:
        """Answers for images dealt out to all workers, one row for each image; `arguments` are those of a part."""
        n = min(len(self.workers), len(images))
        answers = self._call({k: arguments(tuple(images[k::n])) for k in range(n)}, method)
        rows = np.empty((len(images), *answers[0].shape[1:]), np.int64)
        for k, rows_of_worker in answers.items():
            rows[k::n] = rows_of_worker
        return rows

    def _fit_distributed(
        self, training: Training, start: Checkpoint | None, checkpoint: Location, part: tuple[float, float]
    ) -> Checkpoint:
        """Train one model with several workers, starting all of them anew when one is lost."""
        for attempt in range(ATTEMPTS):
            address = self._call({0: ()}, "meet")[0]
            trainings = [
                replace(training, processes=Processes(rank, self._training_workers, address))
                for rank in range(self._training_workers)
            ]
            first, *others = self.workers
            calls = [first.fit.remote(self._job, trainings[0], start, checkpoint, self._progress, part)]
            calls += [
                worker.assist.remote(self._job, of_worker, start)
                for worker, of_worker in zip(others, trainings[1:], strict=False)
            ]
            try:
                model: Checkpoint = self._all(calls)[0]
                return model
            except RayActorError as error:
                if attempt == ATTEMPTS - 1:
                    raise LostWorker(0, "fit", error) from error
                _wait(attempt)
        raise AssertionError  # the last attempt returns or raises

    def _all(self, calls: Sequence[Any]) -> list[Any]:
        """Answers of the calls of one data-parallel training, the k-th being worker k's.

        When one fails, the others wait for it in vain: sooner or later they fail too, or they are restarted. The cause
        is raised, the loss of a worker above all, rather than what follows from it.
        """
        pending, failures = list(calls), list[Exception]()
        try:
            while pending:
                done, pending = ray.wait(pending, num_returns=1, timeout=GRACE if failures else None)
                if not done:
                    break
                try:
                    ray.get(done)
                except RayActorError:
                    raise
                except ray.exceptions.RayError as error:
                    failures.append(error)
        finally:
            for call in pending:
                ray.kill(self.workers[calls.index(call)], no_restart=False)
        if failures:
            from decomp.platform.learners.training.distributed import PeerFailed

            raise min(failures, key=lambda failure: isinstance(failure, PeerFailed))
        return [ray.get(call) for call in calls]

    def _split(self, images: Sequence[str], annotated: Mapping[str, Sequence[Region]]) -> dict[int, dict[str, Any]]:
        images_of: dict[int, list[str]] = {}
        for image in images:
            images_of.setdefault(self._owner[image], []).append(image)
        return {
            worker: {
                "images": tuple(names),
                "annotated": {image: annotated[image] for image in names if image in annotated},
            }
            for worker, names in images_of.items()
        }

    def _repredict(self, worker: int) -> None:
        """Give a worker that was restarted its label maps back."""
        self._call({worker: (self._predicted[worker],)}, "predict")

    def _call(
        self,
        arguments: Mapping[int, tuple[Any, ...]],
        method: str,
        restore: Callable[[int], None] | None = None,
    ) -> dict[int, Any]:
        """Call a method of several workers at once; answers by worker, in order of the worker's number.

        A call whose worker is lost is made again on its restarted self. An exception that the called code raises
        does not mean that the worker was lost, and is passed on.

        Raises:
            LostWorker: if it is lost again and again.
        """
        pending = {k: getattr(self.workers[k], method).remote(self._job, *arguments[k]) for k in sorted(arguments)}
        answers: dict[int, Any] = {}
        for k, reference in pending.items():
            for attempt in range(ATTEMPTS):
                try:
                    answers[k] = ray.get(reference)
                    break
                except (RayActorError, ObjectLostError) as error:  # the worker is gone, or its node with the answer
                    if attempt == ATTEMPTS - 1:
                        raise LostWorker(k, method, error) from error
                    _wait(attempt)
                except StaleShard:
                    if restore is None or attempt == ATTEMPTS - 1:
                        raise
                    restore(k)
                reference = getattr(self.workers[k], method).remote(self._job, *arguments[k])
        return answers


def _wait(attempt: int) -> None:
    """Give a lost worker time to restart, more with every attempt."""
    time.sleep(min(8.0, 0.5 * 2**attempt))


def _single(tasks: Mapping[int, Any]) -> dict[int, tuple[Any, ...]]:
    """Tasks by worker as the only arguments of a call."""
    return {k: (task,) for k, task in tasks.items()}
