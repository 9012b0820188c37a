"""Results in a bucket of an object store, addressed like files.

A bucket has no rename, so the files of every attempt to publish a folder have a prefix of their own, and the attempt
that creates the object ``published`` first is the folder::

    cycle-0002/published                    holds the name of the attempt
    cycle-0002/ATTEMPT/record.json
"""

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from typing_extensions import override

from decomp.platform.storage import lease
from decomp.platform.storage.buckets import Bucket
from decomp.platform.storage.files import checksum
from decomp.platform.storage.location import Location

PUBLISHED = "published"


@dataclass(frozen=True)
class ObjectPath(Location):
    """An object in a bucket, or a folder of objects.

    Every method raises `StorageError` where the store refuses or does not answer.

    Attributes:
        bucket: the bucket.
        key: key of the object, or the common prefix of a folder's objects without the slash.
    """

    bucket: Bucket
    key: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """The place that e.g. ``s3://bucket/prefix`` names."""
        scheme, _, address = url.partition("://")
        name, _, key = address.partition("/")
        return cls(Bucket(f"{scheme}://{name}"), key.strip("/"))

    def __str__(self) -> str:
        return f"{self.bucket.url}/{self.key}"

    @override
    def __truediv__(self, name: str) -> Self:
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    @property
    @override
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @property
    @override
    def parent(self) -> Self:
        return replace(self, key=self.key.rpartition("/")[0])

    @property
    @override
    def local(self) -> Path | None:
        return None

    @override
    def read_bytes(self) -> bytes:
        return self.bucket.get(self.key)

    @override
    def write_atomically(self, content: bytes) -> None:
        self.bucket.put(self.key, content)

    @override
    def exists(self) -> bool:
        return self.bucket.head(self.key) is not None

    @override
    def discard(self) -> None:
        self.bucket.delete(self.key)

    @override
    @contextmanager
    def reading(self, sha256: str) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="decomp-") as folder:
            copy = Path(folder) / self.name
            self.bucket.download(self.key, copy)
            if checksum(copy) != sha256:
                raise OSError(f"{self} is not what was committed (SHA-256 {sha256}); start again, it is computed anew.")
            yield copy

    @override
    @contextmanager
    def writing(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="decomp-") as folder:
            draft = Path(folder) / self.name
            yield draft
            self.bucket.upload(self.key, draft)

    @override
    def sha256(self) -> str | None:
        return self.bucket.sha256(self.key)

    @override
    def prepare(self) -> None:
        """Nothing to do: a bucket has no folders, and `publish` sweeps away what others staged."""

    @override
    def stage(self) -> Self:
        return self / uuid.uuid4().hex

    @override
    def abandon(self) -> None:
        for entry in self.walk():
            entry.discard()

    @override
    def publish(self, staged: Self, files: Mapping[str, bytes]) -> Self:
        for name, content in files.items():
            (staged / name).write_atomically(content)
        marker = self / PUBLISHED
        won = self.bucket.create(marker.key, staged.name.encode())
        winner = staged if won else self / marker.read_bytes().decode()
        # Other attempts cannot win any more: leave none behind.
        for entry in self.walk():
            if entry != marker and entry.parent != winner:
                entry.discard()
        return winner

    @override
    def published(self, prefix: str) -> Mapping[str, Self]:
        attempts: dict[str, set[str]] = {}
        marked = []
        for entry in self.walk():
            folder, _, rest = entry.key.removeprefix(f"{self.key}/").partition("/")
            if folder.startswith(prefix):
                attempts.setdefault(folder, set()).add(rest.partition("/")[0])
                marked += [folder] if rest == PUBLISHED else []
        return {folder: (self / folder)._attempt(attempts[folder] - {PUBLISHED}) for folder in marked}

    @property
    @override
    def publication(self) -> Self:
        return self.parent

    @override
    def set_aside(self) -> str:
        (self.publication / PUBLISHED).discard()
        return str(self)

    @override
    def names(self) -> frozenset[str]:
        return self.bucket.names(self.key)

    @override
    def no_room(self, error: BaseException) -> str | None:
        return None

    @override
    def lock(self) -> AbstractContextManager[None]:
        return lease.held(self.bucket, self.key)

    @override
    def is_locked(self) -> bool:
        return lease.is_held(self.bucket, self.key)

    def walk(self) -> Iterator[Self]:
        """All objects of the folder, by key."""
        for key in self.bucket.keys(self.key):
            yield replace(self, key=key)

    def _attempt(self, attempts: set[str]) -> Self:
        # Another attempt is there only after a writer was killed or lost a race, so the marker is seldom read.
        return self / (next(iter(attempts)) if len(attempts) == 1 else (self / PUBLISHED).read_bytes().decode())
