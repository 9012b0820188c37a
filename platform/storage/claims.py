"""Who computes what where several drivers share an experiment: each claims a run before it starts it.

    ROOT/.drivers/DRIVER              what a driver tells, written anew every few seconds as long as it lives
    ROOT/.claims/NAME.1/driver        which driver has claimed NAME
    ROOT/.claims/NAME.2/driver        which one took it over when that had died

A claim is published, so exactly one of several drivers gets it, in folders without locks and in buckets alike. It lasts
until it is released or its driver dies. A driver of this machine is dead when its process is; one of another machine
when what it tells has not changed for a while, by this process's clock, for those of machines differ. Two drivers that
both believe they hold a claim (one was cut off for a while) do no harm: the first commit of a cycle counts.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from decomp.platform.errors import StorageError
from decomp.platform.storage.location import Location
from decomp.platform.storage.owners import lives, owner_name

DRIVERS, CLAIMS, DRIVER = ".drivers", ".claims", "driver"

RENEW, EXPIRE, LOOK = 5.0, 120.0, 10.0
"""Seconds between two renewals; after the last one until others may take what a driver has claimed (NFS shows changes
up to a minute late); and between two looks at what others have claimed."""


@dataclass
class Claims:
    """What one driver has claimed, and what it sees of the others; for one thread, beside that which renews.

    Attributes:
        root: folder of the experiment.
        renew, expire, look: seconds, see `RENEW`, `EXPIRE` and `LOOK`.
        driver: name of this driver.
        told: what others can read about it.
    """

    root: Location
    renew: float = RENEW
    expire: float = EXPIRE
    look: float = LOOK
    driver: str = field(default_factory=owner_name)
    told: Mapping[str, Any] = field(default_factory=dict)
    _mine: dict[str, Location] = field(default_factory=dict)
    _others: dict[str, "_Claim"] = field(default_factory=dict)
    _heard: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    _looked: float | None = None

    @contextmanager
    def open(self) -> Iterator["Claims"]:
        """Be one of the experiment's drivers; at the end everything is released.

        Raises:
            StorageError: if the folder cannot be written.
        """
        try:
            for folder in (self._file.parent, self._folder):
                folder.prepare()
            self.write()
        except StorageError:
            raise
        except OSError as error:
            why = self.root.no_room(error) or f"{self.root} cannot be written: {error.strerror}; name another folder."
            raise StorageError(why) from error
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(self.renew):
                with suppress(OSError):  # the storage cannot be reached for now; if that lasts, others take over
                    self.write()

        thread = threading.Thread(target=renew, name="claims", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
            with suppress(OSError):
                for name in list(self._mine):
                    self.release(name)
                self._file.discard()
                self._sweep()

    def write(self) -> None:
        """Write anew what this driver tells."""
        self._file.write_atomically(json.dumps({"at": time.time(), **self.told}).encode())

    def take(self, name: str) -> bool:
        """Claim something; returns whether this driver holds it now.

        Raises:
            OSError: if the storage cannot be written.
        """
        if name in self._mine:
            return True
        before = self.others().get(name, NOBODY)
        if before.living:
            return False
        place = self._folder / f"{name}.{before.number + 1}"
        try:
            published = place.publish(place.stage(), {DRIVER: self.driver.encode()})
            won = _read(published / DRIVER) == self.driver.encode()
        except FileNotFoundError:  # whoever was faster has released it already
            won = False
        self.look_again()
        if won and self.others().get(name, NOBODY).living:  # under a number that the last look did not show
            place.abandon()
            won = False
        if won:
            self._mine[name] = place
            if before.number:
                with suppress(OSError):  # a dead driver's claim does no harm
                    (self._folder / f"{name}.{before.number}").abandon()
        return won

    def release(self, name: str) -> None:
        """Give back what this driver has claimed, if it has."""
        if name in self._mine:
            with suppress(OSError):  # it is tried again at the end
                self._mine[name].abandon()
                del self._mine[name]

    def look_again(self) -> None:
        """Forget what the last look showed: what others have released by now counts at once."""
        self._looked = None

    def others(self) -> Mapping[str, "_Claim"]:
        """What others have claimed, as seen at the last look: one listing, and a small file for each claim."""
        if self._looked is None or time.monotonic() - self._looked >= self.look:
            with suppress(OSError):  # the storage cannot be reached for now
                self._others = self._look()
            self._looked = time.monotonic()
        return self._others

    @property
    def held(self) -> set[str]:
        """What others hold, as seen at the last look."""
        return {name for name, claim in self.others().items() if claim.living}

    def told_by_holder(self, name: str) -> bytes | None:
        """What the driver that has claimed something tells now; None if nobody has."""
        claim = self.others().get(name)
        return _read(self.root / DRIVERS / claim.driver) if claim is not None and claim.driver else None

    def is_heard(self, name: str, since: bytes | None) -> bool:
        """Whether the driver that has claimed something is seen to live: it does here, or tells something new.

        Args:
            name: what it has claimed.
            since: what it told before.
        """
        claim = self.others().get(name, NOBODY)
        return bool(lives(claim.driver)) or self.told_by_holder(name) not in (None, since)

    def _look(self) -> dict[str, "_Claim"]:
        claims: dict[str, _Claim] = {}
        lives = cache(self._lives)
        for published, place in self._folder.published("").items():
            name, _, number = published.rpartition(".")
            if not number.isdecimal() or (driver := (_read(place / DRIVER) or b"").decode()) == self.driver:
                continue
            before = claims.get(name, NOBODY)
            living = lives(driver)
            last = max(before.number, int(number))
            claims[name] = _Claim(last, driver, living) if living or not before.living else replace(before, number=last)
        return claims

    def _sweep(self) -> None:
        """Remove what drivers have left that are known to be dead."""
        for name in (self.root / DRIVERS).names():
            if not self._lives(name):
                (self.root / DRIVERS / name).discard()
        for place in self._folder.published("").values():
            if not self._lives((_read(place / DRIVER) or b"").decode()):
                place.publication.abandon()

    def _lives(self, driver: str) -> bool:
        if not driver:  # it was killed while it claimed something or gave it back
            return False
        if (living := lives(driver)) is not None:
            return living
        content, now = _read(self.root / DRIVERS / driver), time.monotonic()
        if content is None:
            return False
        before, since = self._heard.get(driver, (None, now))
        if content != before:
            since = now
        self._heard[driver] = content, since
        return now - since < self.expire

    @property
    def _file(self) -> Location:
        return self.root / DRIVERS / self.driver

    @property
    def _folder(self) -> Location:
        return self.root / CLAIMS


@dataclass(frozen=True)
class _Claim:
    number: int
    driver: str
    living: bool


NOBODY = _Claim(0, "", False)


def _read(file: Location) -> bytes | None:
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return None


def drivers(root: Location) -> dict[str, Mapping[str, Any]]:
    """What the drivers of an experiment tell, by their names, apart from those that are known or taken to be dead.

    A driver of another machine is taken to be dead if it has been silent for `EXPIRE` seconds, by the machines' clocks.
    """
    told = {}
    folder = root / DRIVERS
    for name in sorted(folder.names()):
        living = lives(name)
        if name.startswith(".") or name.endswith(".stop") or living is False:  # half-made, a request, or dead
            continue
        with suppress(ValueError, TypeError, KeyError):
            says = json.loads(_read(folder / name) or b"")
            if living or time.time() - says["at"] < EXPIRE:
                told[name] = says
    return told
