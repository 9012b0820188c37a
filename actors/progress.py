"""The notice board: where running runs say what they are at, and the driver reads it."""

from dataclasses import dataclass, field, replace
from typing import Any

import ray

PATIENCE = 1.0
"""Seconds that the driver waits for news; those that come later it takes the next time."""


@dataclass(frozen=True)
class Activity:
    """What a run is at: phase of a cycle, `fraction` of which is done."""

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


class ProgressBoard:
    """Holds the news until the driver fetches them. A loss costs nothing but a progress bar, see `ProgressReader`."""

    def __init__(self) -> None:
        self._active: dict[str, Activity] = {}
        self._committed: list[str] = []
        self._warnings: list[str] = []

    def phase(self, run: str, cycle: int, name: str) -> None:
        """A run enters a phase."""
        self._active[run] = Activity(cycle, name, 0.0)

    def progress(self, run: str, fraction: float) -> None:
        """A run gets on with its phase."""
        if run in self._active:
            self._active[run] = replace(self._active[run], fraction=fraction)

    def committed(self, run: str) -> None:
        """A run committed a cycle."""
        self._committed.append(run)

    def warn(self, message: str) -> None:
        """Something that the user should know of."""
        self._warnings.append(message)

    def ended(self, run: str) -> None:
        """A run is no longer active."""
        self._active.pop(run, None)

    def news(self) -> ProgressReport:
        """Fetch the news."""
        news = ProgressReport(dict(self._active), self._committed, self._warnings)
        self._committed, self._warnings = [], []
        return news


class ProgressObserver:
    """`decomp.platform.loop.loop.Observer` that writes on the board and waits for nothing."""

    def __init__(self, board: Any, run: str) -> None:
        self.board = board
        self.run = run

    def phase(self, cycle: int, name: str, fraction: float) -> None:
        """See `Observer.phase`."""
        self.board.phase.remote(self.run, cycle, name)

    def committed(self, cycle: int) -> None:
        """See `Observer.committed`."""
        self.board.committed.remote(self.run)

    def warn(self, message: str) -> None:
        """See `Observer.warn`."""
        self.board.warn.remote(f"{self.run}: {message}")


class ProgressReader:
    """Brings the news to the driver, which never waits long for them: the board may be lost, and starts again empty."""

    def __init__(self, board: Any) -> None:
        self.board = board
        self._asked: Any = None
        self._active: dict[str, Activity] = {}

    def news(self) -> ProgressReport:
        """What the board tells; nothing new if it does not answer now."""
        if self._asked is None:
            self._asked = self.board.news.remote()
        if not ray.wait([self._asked], timeout=PATIENCE)[0]:
            return ProgressReport(self._active)
        asked, self._asked = self._asked, None
        try:
            news: ProgressReport = ray.get(asked)
        except ray.exceptions.RayError:
            return ProgressReport(self._active)
        self._active = news.active
        return news


def open_progress() -> Any:
    """Start the board's actor; it lives as long as the driver."""
    # Wrapped here rather than decorated: a decorated class would be pickled by value, copies of its globals included.
    return ray.remote(num_cpus=0, max_restarts=-1)(ProgressBoard).remote()
