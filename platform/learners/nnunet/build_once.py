"""Folders that are made once per machine, by whichever process comes first, and read by all.

Several processes may make folders at once: each folder has a lock, which the kernel releases when its holder dies. A
folder becomes visible by one rename after its files are synced to disk, with checksums that every process compares once
before it uses the files. So a process that is killed leaves nothing that is taken for a result, and a damaged file is
made again.
"""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from decomp.platform.errors import UserError
from decomp.platform.storage.files import checksum, flock, sync
from decomp.platform.storage.location import Locked

CHECKSUMS = "sha256.json"


class BuildOnce:
    """Folders of one kind, by name.

    Args:
        folder: where they lie.
        make: writes the files of a name into an empty folder. What it writes must depend on the name alone.
    """

    def __init__(self, folder: Path, make: Callable[[str, Path], None]) -> None:
        self._folder = folder
        self._make = make
        self._checked: set[str] = set()

    def get(self, name: str, spares: Iterable[str] = ()) -> Path:
        """The folder of a name, made if need be.

        While another process makes it, this one makes missing folders among `spares` instead of waiting.
        """
        if not self.has(name):
            remaining = iter(spares)
            while not self._try(name):
                if not any(self._try(spare) for spare in remaining if not self._place(spare).exists()):
                    self._try(name, wait=True)
                    break
        return self._place(name)

    def complete(self, names: Iterable[str]) -> None:
        """Make the folders of all names; those that other processes are making come last."""
        busy = [name for name in names if not self.has(name) and not self._try(name)]
        for name in busy:
            self._try(name, wait=True)

    def has(self, name: str) -> bool:
        """Whether the folder of a name is there and intact."""
        if name not in self._checked and _intact(self._place(name)):
            self._checked.add(name)
        return name in self._checked

    def _try(self, name: str, wait: bool = False) -> bool:
        """Make a folder unless it is there; False if another process is making it and this one is not to wait."""
        place = self._place(name)
        writable(self._folder)
        try:
            with flock(self._folder / f".{place.name}.lock", wait=wait):
                if not self.has(name):
                    self._build(name, place)
        except Locked:
            return False
        return True

    def _build(self, name: str, place: Path) -> None:
        unfinished = self._folder / f".{place.name}.unfinished"
        for leftover in (unfinished, place):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir()
        self._make(name, unfinished)
        _seal(unfinished)
        unfinished.rename(place)
        sync(self._folder)
        self._checked.add(name)

    def _place(self, name: str) -> Path:
        return self._folder / quote(name, safe=" ").replace(".", "%2E")


def writable(folder: Path) -> None:
    """Make the folder; `UserError` if that is impossible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"learner.cache: cannot make {folder}: {error}; name a folder that can be written.") from error


def _seal(folder: Path) -> None:
    files = sorted(folder.iterdir())
    for file in files:
        sync(file)
    sums = folder / CHECKSUMS
    sums.write_text(json.dumps({file.name: checksum(file) for file in files}))
    sync(sums)
    sync(folder)


def _intact(folder: Path) -> bool:
    try:
        sums = json.loads((folder / CHECKSUMS).read_text())
        return all(checksum(folder / name) == value for name, value in sums.items())
    except (OSError, ValueError):
        return False
