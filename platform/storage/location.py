"""Where results lie: one interface, which folders (`files`) and buckets of an object store (`objects`) implement."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Self


class Location(ABC):
    """A file or a folder of results, wherever it lies.

    A driver, its coordinators and the workers on all machines hold locations of the same results and use them at the
    same time, and any of them may be killed at any moment. Therefore an implementation must meet these requirements.

    **Value.** A location is immutable, hashable, equal by value, pickled small, and made without asking the store.

    **Small files.** What `write_atomically` writes becomes visible whole or not at all, even after a crash; if several
    processes write one file, the last one counts. A reader never sees half of it.

    **Published folders.** The files of a folder are written to the place that `stage` returns and become visible
    together by `publish`. If several writers publish the same folder, exactly one wins, and all get the winner's
    files. What a killed writer has staged is never taken for a result, and `prepare` or the next `publish` sweeps it
    away; what another process is staging is left alone. The files of a published folder stay as they are; single ones
    may be discarded.

    **Lock.** At most one process holds a `lock`. Where processes are cut off from the store for a while, two may
    believe that they do; published folders stay correct all the same.

    **Errors.** A missing file raises `FileNotFoundError`. A store that refuses or does not answer raises `OSError`
    within a minute; where the user can help, it is a `StorageError`, one sentence that names the remedy.

    A cycle's folder, for example, is written and read like this::

        staged = (folder / "cycle-0002").stage()
        with (staged / "model").writing() as file:
            torch.save(weights, file)
        files = (folder / "cycle-0002").publish(staged, {"record.json": record})
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Last part of the address."""

    @property
    @abstractmethod
    def parent(self) -> Self:
        """The folder that it is in."""

    @abstractmethod
    def __truediv__(self, name: str) -> Self:
        """A file or folder in this folder."""

    @property
    @abstractmethod
    def local(self) -> Path | None:
        """This folder as a path on this machine, where reports can be written; None if it lies elsewhere."""

    # One file.

    @abstractmethod
    def read_bytes(self) -> bytes:
        """The content of a small file.

        Raises:
            FileNotFoundError: if there is no such file.
        """

    @abstractmethod
    def write_atomically(self, content: bytes) -> None:
        """Write or replace a small file, e.g. the status, which others read at any time."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a file; a folder does not count."""

    @abstractmethod
    def discard(self) -> None:
        """Delete the file if there is one."""

    @abstractmethod
    def reading(self, sha256: str) -> AbstractContextManager[Path]:
        """A large file as a file of this machine, which is gone afterwards if it is a copy.

        Called by every worker that loads a checkpoint.

        Args:
            sha256: digest that a copy must have.

        Raises:
            FileNotFoundError: if there is no such file.
            OSError: if a copy has another digest.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Path]:
        """A file of this machine to write a large file to, which takes its place when the context ends well.

        Called for files of a staged folder only, so nobody sees it before the folder is published.
        """

    @abstractmethod
    def sha256(self) -> str | None:
        """SHA-256 of a large file; None where there is none, or where the file would have to be fetched for it.

        Called before a run goes on from its last checkpoint.
        """

    # A folder.

    @abstractmethod
    def prepare(self) -> None:
        """Make the folder and sweep away what killed writers staged in it; called first by a run's coordinator."""

    @abstractmethod
    def stage(self) -> Self:
        """A fresh place for the files of this folder in the making; every call returns another, see `publish`."""

    @abstractmethod
    def abandon(self) -> None:
        """Delete this staged folder; called on what `stage` returned when its files will never be published."""

    @abstractmethod
    def publish(self, staged: Self, files: Mapping[str, bytes]) -> Self:
        """Add small files to those that are staged already, then make all visible at once as this folder.

        Losing a race against another writer of the same folder is no fault.

        Args:
            staged: what `stage` returned.
            files: the small files, by name.

        Returns:
            Where the files of this folder are now, whoever wrote them.
        """

    @abstractmethod
    def published(self, prefix: str) -> Mapping[str, Self]:
        """The published folders in this one, by name: where the files of each are.

        Called whenever a run's committed cycles are listed; in a bucket it is one listing. This folder may be missing.

        Args:
            prefix: beginning of the folders' names.
        """

    @property
    @abstractmethod
    def publication(self) -> Self:
        """The folder as which the files here are published; inverse of a value of `published`."""

    @abstractmethod
    def set_aside(self) -> str:
        """Take a published folder that is damaged out of sight, so that it can be published anew.

        Called on what `published` or `publish` returned.

        Returns:
            What it is called now.
        """

    @abstractmethod
    def names(self) -> frozenset[str]:
        """Names of the files and folders in this one, which may be missing; one listing, however much is below them."""

    @abstractmethod
    def no_room(self, error: BaseException) -> str | None:
        """The sentence for the user if an error came from a lack of room here; None if it did not."""

    # One process at a time.

    @abstractmethod
    def lock(self) -> AbstractContextManager[None]:
        """Hold this file as a lock while the context lasts; its holder loses it however its process ends.

        Called by the driver of an experiment, on a file in the experiment's folder, which it makes if need be.

        Raises:
            Locked: at once, if another process holds it.
            StorageError: if the folder cannot be written.
        """

    @abstractmethod
    def is_locked(self) -> bool:
        """Whether a process holds this file as a `lock`; called by those who only look, so it writes nothing."""


class Locked(Exception):
    """Another process holds a lock.

    Attributes:
        holder: the process, e.g. ``process 7 on node-1``, or None where that is not known.
        expiry: seconds until others may take the lock of a holder that was killed; 0 for at once.
    """

    def __init__(self, holder: str | None = None, expiry: float = 0.0) -> None:
        super().__init__(holder or "another process")
        self.holder = holder
        self.expiry = expiry
