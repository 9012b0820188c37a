"""The scheduler of runs: keeps as many runs going as fit into the cluster.

A run needs a slot: a placement group with its workers, so that either all of a run's workers are there or none, and
half-started runs cannot block each other. A slot serves run after run, for starting a worker takes seconds. How many
runs go on at once follows the cluster: nodes that join are used from then on.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from decomp.actors.capacity import room, shortage, too_small
from decomp.actors.coordinator import Outcome, coordinate
from decomp.actors.group import start_workers
from decomp.actors.progress import ProgressReader, ProgressReport, open_progress
from decomp.actors.resources import Resources
from decomp.platform.errors import StorageError, UserError
from decomp.platform.spec import RunSpec
from decomp.platform.storage.claims import Claims
from decomp.platform.storage.location import Location
from decomp.platform.storage.runs import RunStore

POLL = 0.5
"""Seconds to wait for a run to end before progress is read again."""

RETRIES = 5
"""How often Ray starts a lost coordinator again; the scheduler starts it anew if its run has committed cycles since."""

Listener = Callable[[ProgressReport, Sequence[Outcome]], None]
"""Called with what has happened since the last call, and with the runs that have just ended."""


@dataclass
class Sweep:
    """All runs of an experiment.

    A run starts when the first cycle that it shares is committed, so no run holds a slot while it waits for another.
    Where several drivers share the experiment, a run starts when this one has claimed it; the sweep ends when all runs
    have ended, whoever computed them, or when others compute all that is left and this driver need not stay.

    Attributes:
        root: folder of the experiment, absolute and the same on all nodes.
        specs: runs, first cycles and references in order of preference.
        resources: what one run occupies.
        patience: seconds that are waited for nodes if not even one run fits at the start.
        claims: those of this driver; None where it is alone.
        stays: whether to wait for runs that others compute, to take them over if they die.
    """

    root: Location
    specs: Sequence[RunSpec]
    resources: Resources
    patience: float = 0.0
    claims: Claims | None = None
    stays: bool = True
    _elsewhere: set[str] = field(default_factory=set)
    _running: dict[Any, "_Running"] = field(default_factory=dict)
    _slots: list["_Slot"] = field(default_factory=list)
    _room: int | None = None
    _begun: bool = False

    def run(self, listen: Listener) -> list[Outcome]:
        """Compute everything that is not finished; returns how each of these runs ended, in order of ending.

        Raises:
            UserError: if not even one run fits into the cluster, or this machine is cut off from it.
        """
        deadline = time.monotonic() + self.patience
        waiting = [spec for spec in self.specs if not RunStore(self.root, spec).finished]
        blocking = {spec.key for spec in waiting if spec.kind == "first"}
        outcomes: list[Outcome] = []
        progress = open_progress()
        reader = ProgressReader(progress)
        try:
            while waiting or self._running:
                warnings = self._follow_cluster(deadline)
                done_elsewhere = self._done_elsewhere(waiting)
                for spec in done_elsewhere:
                    waiting.remove(spec)
                    blocking.discard(spec.key)
                ready = [spec for spec in waiting if spec.kind != "run" or spec.first.key not in blocking]
                for spec in ready:
                    if len(self._running) >= self._limit:
                        break
                    if not self._claim(spec):
                        continue
                    waiting.remove(spec)
                    done = len(RunStore(self.root, spec).committed())
                    if spec.kind != "first" and done >= spec.cycles:  # another driver was faster
                        self._release(spec)
                        done_elsewhere.append(spec)
                    else:
                        self._start(spec, done, progress)
                ended, again = self._collect()
                waiting[:0] = again
                for outcome in ended:
                    self._release(outcome.spec)
                ended = [*map(Outcome, done_elsewhere), *ended]
                for outcome in ended:
                    if outcome.spec.kind == "first":
                        if outcome.error is None:
                            blocking.discard(outcome.spec.key)
                        else:
                            ended = [*ended, *_give_up(waiting, outcome)]
                outcomes += ended
                if not waiting:
                    self._release_idle()
                report = reader.read()
                listen(replace(report, warnings=[*report.warnings, *warnings]), ended)
                if not (self._running or self.stays or {spec.key for spec in waiting} - self._held):
                    break
        except Exception:
            self._close_slots()
            raise
        # Not after an interruption: Ray closes them with the session, and may be unable to answer.
        self._close_slots()
        return outcomes

    def _claim(self, spec: RunSpec) -> bool:
        try:
            if self.claims is None or self.claims.take(spec.key):
                return True
        except OSError as error:
            if self._running:  # it is tried again; a run that goes on says what is wrong
                return False
            raise StorageError(self.root.no_room(error) or f"{self.root} cannot be written ({error}).") from error
        self._elsewhere.add(spec.key)
        return False

    def _release(self, spec: RunSpec) -> None:
        if self.claims is not None:
            self.claims.release(spec.key)

    @property
    def _held(self) -> set[str]:
        """Keys of the runs that other drivers compute."""
        return self.claims.held if self.claims is not None else set()

    def _done_elsewhere(self, waiting: Sequence[RunSpec]) -> list[RunSpec]:
        """Runs that another driver has claimed, and finished since."""
        if self.claims is None or not waiting:
            return []
        held = self._held
        released = [spec for spec in waiting if spec.key in self._elsewhere - held]
        self._elsewhere = {spec.key for spec in waiting} & held
        return [spec for spec in released if RunStore(self.root, spec).finished]

    def _is_elsewhere(self, spec: RunSpec) -> bool:
        """Whether another driver, which took this one for dead, computes a run that has failed here, or has done so."""
        if self.claims is None:
            return False
        self.claims.look_again()
        return spec.key in self._held or RunStore(self.root, spec).finished

    def _close_slots(self) -> None:
        for slot in self._slots:
            slot.close()

    def _start(self, spec: RunSpec, done: int, progress: Any) -> None:
        idle = self._idle()
        slot = idle[0] if idle else self._open_slot()
        # The coordinator only waits and counts: it takes no share of the cores, which are its workers'.
        task = ray.remote(num_cpus=0, max_retries=RETRIES)(coordinate).options(
            scheduling_strategy=PlacementGroupSchedulingStrategy(slot.group, 0)
        )
        reference = task.remote(spec, self.root, slot.workers, progress, self.resources.training_workers)
        self._running[reference] = _Running(spec, slot, done)

    def _open_slot(self) -> "_Slot":
        group = placement_group([self.resources.bundle] * self.resources.workers, strategy="PACK")
        slot = _Slot(group, start_workers(self.resources, group))
        self._slots.append(slot)
        self._begun = True
        return slot

    def _idle(self) -> list["_Slot"]:
        busy = {id(running.slot) for running in self._running.values()}
        return [slot for slot in self._slots if id(slot) not in busy]

    def _release_idle(self) -> None:
        """Give back what the last runs do not need, so that an autoscaler can stop nodes."""
        for slot in self._idle():
            self._slots.remove(slot)
            slot.close()

    def _collect(self) -> tuple[list[Outcome], list[RunSpec]]:
        """How runs ended, and runs to start again: they lost processes, but had committed cycles since they started, or
        another driver computes them.
        """
        if not self._running:  # no room at the moment
            time.sleep(POLL)
            return [], []
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL)
        ended, again = [], []
        for reference in done:
            running = self._running.pop(reference)
            try:
                outcome = ray.get(reference)
            except ray.exceptions.RayError as error:
                reason = f"its coordinator was lost again and again, for lack of memory? ({str(error).splitlines()[0]})"
                outcome = Outcome(running.spec, reason, lost=True)
            if outcome.error is not None:
                # Its workers may be dead, or busy for a long time with their last call.
                self._slots.remove(running.slot)
                running.slot.close()
            if outcome.lost and len(RunStore(self.root, running.spec).committed()) > running.done:
                again.append(running.spec)
            elif outcome.error is not None and self._is_elsewhere(running.spec):
                self._release(running.spec)
                again.append(running.spec)
            else:
                ended.append(outcome)
        return ended, again

    @property
    def _limit(self) -> int:
        """How many runs may go on at once now."""
        most, fitting = self.resources.runs_at_once, self._room or 0
        if most is None:
            return fitting
        return most if self.resources.autoscaling else min(most, fitting)

    def _follow_cluster(self, deadline: float) -> list[str]:
        """Count how many runs fit now that nodes may have joined or left.

        Returns:
            A sentence when not even one run fits yet, or no longer all that have started.

        Raises:
            UserError: if nothing ever fitted until the deadline, or if this machine is no longer part of the cluster,
                so that nothing could ever be started again.
        """
        nodes = _living_nodes()
        if ray.get_runtime_context().get_node_id() not in (node["NodeID"] for node in nodes):
            raise UserError(
                "Ray's own process on this machine has died, for lack of memory? Committed cycles are kept; the same "
                "command goes on from there."
            )
        before, self._room = self._room, room(nodes, self.resources)
        if self.resources.autoscaling:
            return []
        if not self._room and not self._begun:
            if time.monotonic() >= deadline:
                raise too_small(nodes, self.resources)
            return [] if before is not None else [f"{shortage(nodes, self.resources)}; more nodes are waited for."]
        if before is None or self._room >= min(before, len(self._slots)):
            return []
        return [
            f"a node was lost, which leaves room for {self._room} of the {len(self._slots)} runs that have started; "
            f"the others wait until another node joins, or stop and start again."
        ]


@dataclass(frozen=True)
class _Slot:
    group: PlacementGroup
    workers: list[Any]

    def close(self) -> None:
        """Free what it holds; ends its workers too."""
        remove_placement_group(self.group)


@dataclass(frozen=True)
class _Running:
    """A run that has started, when `done` of its cycles were committed."""

    spec: RunSpec
    slot: _Slot
    done: int


def _give_up(waiting: list[RunSpec], failed: Outcome) -> list[Outcome]:
    """Drop the runs that would have started from a first cycle that failed."""
    lost = [spec for spec in waiting if spec.kind == "run" and spec.first.key == failed.spec.key]
    for spec in lost:
        waiting.remove(spec)
    return [Outcome(spec, "the first cycle that it shares failed", failed.details) for spec in lost]


def _living_nodes() -> list[dict[str, Any]]:
    """The cluster's nodes as Ray describes them."""
    return [node for node in ray.nodes() if node["Alive"]]
