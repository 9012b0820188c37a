"""Progress of all running runs: an actor gathers what coordinators and workers report, the driver reads it.

Nothing heavy is imported above: `decomp status` needs the types alone, and the actor, which starts beside the first
workers, must not take the cores from them.
"""

from dataclasses import dataclass, field, replace
from typing import Any

PATIENCE = 1.0
"""Seconds that the driver waits for an answer; one that comes later is taken the next time."""


@dataclass(frozen=True)
class Activity:
    """What a run is doing: a phase of a cycle, `fraction` of which is done."""

    cycle: int
    phase: str
    fraction: float


@dataclass(frozen=True)
class ProgressReport:
    """What has happened since the driver last asked.

    Attributes:
        active: activity of every running run, by label.
        committed: labels of runs that committed a cycle, in order, one entry per cycle.
        warnings: sentences for the user.
    """

    active: dict[str, Activity] = field(default_factory=dict)
    committed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class ProgressActor:
    """Ray actor that gathers the progress of all runs; losing it costs no more than a progress bar."""

    def __init__(self) -> None:
        self._active: dict[str, Activity] = {}
        self._committed: list[str] = []
        self._warnings: list[str] = []

    def phase(self, run: str, cycle: int, name: str) -> None:
        """A run enters a phase."""
        self._active[run] = Activity(cycle, name, 0.0)

    def advance(self, run: str, fraction: float) -> None:
        """A run has done a fraction of its phase."""
        if run in self._active:
            self._active[run] = replace(self._active[run], fraction=fraction)

    def committed(self, run: str) -> None:
        """A run committed a cycle."""
        self._committed.append(run)

    def warn(self, message: str) -> None:
        """There is something that the user should know."""
        self._warnings.append(message)

    def ended(self, run: str) -> None:
        """A run is no longer active."""
        self._active.pop(run, None)

    def report(self) -> ProgressReport:
        """What has happened since the last report."""
        report = ProgressReport(dict(self._active), self._committed, self._warnings)
        self._committed, self._warnings = [], []
        return report


def open_progress() -> Any:
    """Start a `ProgressActor`, which lives as long as the driver; returns its handle."""
    import ray

    # Wrapped here rather than decorated: a decorated class would be pickled by value, copies of its globals included.
    return ray.remote(num_cpus=0, max_restarts=-1)(ProgressActor).remote()


class ProgressReader:
    """Reads a `ProgressActor` for the driver, and never waits long for it: it may be lost, and starts again empty."""

    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._asked: Any = None
        self._active: dict[str, Activity] = {}

    def read(self) -> ProgressReport:
        """What has happened since the last call; nothing new if the actor does not answer now."""
        import ray

        if self._asked is None:
            self._asked = self._progress.report.remote()
        if not ray.wait([self._asked], timeout=PATIENCE)[0]:
            return ProgressReport(self._active)
        asked, self._asked = self._asked, None
        try:
            report: ProgressReport = ray.get(asked)
        except ray.exceptions.RayError:
            return ProgressReport(self._active)
        self._active = report.active
        return report
