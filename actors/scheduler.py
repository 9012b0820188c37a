"""The scheduler of runs: keeps as many runs going as fit into the cluster.

A run needs a slot: a placement group with its workers, so that either all of a run's workers are there or none, and
half-started runs cannot block each other. A slot serves run after run, for starting a worker takes seconds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from decomp.actors.board import News, open_board
from decomp.actors.coordinator import Outcome, coordinate
from decomp.actors.group import start_workers
from decomp.actors.resources import Resources
from decomp.platform.registry import UserError
from decomp.platform.spec import RunSpec
from decomp.platform.store import RunStore

POLL = 0.5
"""Seconds between two looks at the notice board."""

Listener = Callable[[News, Sequence[Outcome]], None]
"""Called with the news and with the runs that have just ended."""


@dataclass
class Sweep:
    """All runs of an experiment.

    A run starts when the first cycle that it shares is committed, so no run holds a slot while it waits for another.

    Attributes:
        root: absolute folder of the experiment, the same on all nodes.
        specs: runs, first cycles and references in order of preference.
        resources: what one run occupies.
    """

    root: Path
    specs: Sequence[RunSpec]
    resources: Resources
    _running: dict[Any, "_Running"] = field(default_factory=dict)
    _slots: list["_Slot"] = field(default_factory=list)

    def run(self, listen: Listener) -> list[Outcome]:
        """Compute everything that is not finished; returns how each of these runs ended, in order of ending.

        Raises:
            UserError: if not even one run fits into the cluster.
        """
        limit = self.resources.runs_at_once
        if not self.resources.autoscaling:
            room = capacity(self.resources)
            limit = limit or room
        assert limit is not None
        waiting = [spec for spec in self.specs if not RunStore(self.root, spec).finished]
        blocking = {spec.key for spec in waiting if spec.kind == "first"}
        outcomes: list[Outcome] = []
        board = open_board()
        try:
            while waiting or self._running:
                ready = [spec for spec in waiting if spec.kind != "run" or spec.first.key not in blocking]
                for spec in ready[: max(0, limit - len(self._running))]:
                    waiting.remove(spec)
                    self._start(spec, board)
                ended = self._collect()
                for outcome in ended:
                    if outcome.spec.kind == "first":
                        if outcome.error is None:
                            blocking.discard(outcome.spec.key)
                        else:
                            ended = [*ended, *_give_up(waiting, outcome)]
                outcomes += ended
                if not waiting:
                    self._release_idle()
                listen(ray.get(board.news.remote()), ended)
        finally:
            for slot in self._slots:
                slot.close()
        return outcomes

    def _start(self, spec: RunSpec, board: Any) -> None:
        idle = self._idle()
        slot = idle[0] if idle else self._open_slot()
        # The coordinator only waits and counts: it takes no share of the cores, which are its workers'.
        task = ray.remote(num_cpus=0, max_retries=5)(coordinate).options(
            scheduling_strategy=PlacementGroupSchedulingStrategy(slot.group, 0)
        )
        self._running[task.remote(spec, self.root, slot.workers, board)] = _Running(spec, slot)

    def _open_slot(self) -> "_Slot":
        group = placement_group([self.resources.bundle] * self.resources.workers, strategy="PACK")
        slot = _Slot(group, start_workers(self.resources, group))
        self._slots.append(slot)
        return slot

    def _idle(self) -> list["_Slot"]:
        busy = {id(running.slot) for running in self._running.values()}
        return [slot for slot in self._slots if id(slot) not in busy]

    def _release_idle(self) -> None:
        """Give back what the last runs do not need, so that an autoscaler can stop nodes."""
        for slot in self._idle():
            self._slots.remove(slot)
            slot.close()

    def _collect(self) -> list[Outcome]:
        done, _ = ray.wait(list(self._running), num_returns=1, timeout=POLL)
        outcomes = []
        for reference in done:
            running = self._running.pop(reference)
            try:
                outcomes.append(ray.get(reference))
            except ray.exceptions.RayError as error:
                outcomes.append(Outcome(running.spec, f"its coordinator was lost: {str(error).splitlines()[0]}"))
        return outcomes


@dataclass(frozen=True)
class _Slot:
    group: PlacementGroup
    workers: list[Any]

    def close(self) -> None:
        """Free what it holds; ends its workers too."""
        remove_placement_group(self.group)


@dataclass(frozen=True)
class _Running:
    spec: RunSpec
    slot: _Slot


def _give_up(waiting: list[RunSpec], failed: Outcome) -> list[Outcome]:
    """Drop the runs that would have started from a first cycle that failed."""
    lost = [spec for spec in waiting if spec.kind == "run" and spec.first.key == failed.spec.key]
    for spec in lost:
        waiting.remove(spec)
    return [Outcome(spec, "the first cycle that it shares failed", failed.details) for spec in lost]


def capacity(resources: Resources) -> int:
    """How many runs fit into the cluster at the same time.

    Raises:
        UserError: if not even one does.
    """
    bundles = 0
    totals = {"CPU": 0.0, "GPU": 0.0}
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            totals = {name: total + has.get(name, 0.0) for name, total in totals.items()}
            bundles += min(int(has.get(name, 0.0) / needed) for name, needed in resources.bundle.items())
    if bundles < resources.workers:
        raise UserError(
            f"resources: one run needs {resources.workers} worker(s) of {resources.cpus:g} CPU and "
            f"{resources.gpus:g} GPU each, but the cluster has {totals['CPU']:g} CPU and {totals['GPU']:g} GPU on "
            f"{len(ray.nodes())} node(s), which makes room for {bundles}; lower resources.workers, .cpus or .gpus, "
            f"or use a larger cluster."
        )
    return bundles // resources.workers
