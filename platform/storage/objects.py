"""Objects in a bucket of an S3-compatible store, addressed like files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from decomp.platform.errors import StorageError
from decomp.platform.storage.durable import checksum

SCHEME = "s3://"


@dataclass(frozen=True)
class ObjectPath:
    """An object, or a folder of objects; of `pathlib.Path` those methods that committed cycles need.

    Every method raises `StorageError` where the store refuses or does not answer. Credentials, region and endpoint are
    found where all tools of AWS find them: ``AWS_ENDPOINT_URL`` and the like, ``~/.aws``, the machine's role.

    Attributes:
        bucket: name of the bucket.
        key: key of the object, or the common prefix of a folder's objects without the slash.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> "ObjectPath":
        """The place that ``s3://bucket/prefix`` names."""
        bucket, _, key = url.removeprefix(SCHEME).partition("/")
        return cls(bucket, key.strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"

    def __truediv__(self, name: str) -> "ObjectPath":
        return ObjectPath(self.bucket, f"{self.key}/{name}" if self.key else name)

    @property
    def name(self) -> str:
        """Last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def parent(self) -> "ObjectPath":
        """The folder that it is in."""
        return ObjectPath(self.bucket, self.key.rpartition("/")[0])

    def read_bytes(self) -> bytes:
        """The object's content.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        with self._told():
            return bytes(_client().get_object(Bucket=self.bucket, Key=self.key)["Body"].read())

    def write_bytes(self, content: bytes) -> None:
        """Write or replace the object; it is there whole or not at all."""
        with self._told():
            _client().put_object(Bucket=self.bucket, Key=self.key, Body=content)

    def create(self, content: bytes) -> bool:
        """Write the object unless there is one; of several writers one wins. Returns whether this one did."""
        return self._conditionally(content, IfNoneMatch="*")

    def replace_version(self, version: str, content: bytes) -> bool:
        """Replace the object if it is still the version that `head` told; returns whether it was."""
        return self._conditionally(content, IfMatch=version)

    def head(self) -> dict[str, Any] | None:
        """What the store says of the object, e.g. ``ETag``, its version; None where there is none."""
        try:
            with self._told():
                found: dict[str, Any] = _client().head_object(Bucket=self.bucket, Key=self.key)
                return found
        except FileNotFoundError:
            return None

    def exists(self) -> bool:
        """Whether there is such an object (not: folder)."""
        return self.head() is not None

    def unlink(self, missing_ok: bool = True) -> None:
        """Delete the object; it is no fault if there is none."""
        with self._told():
            _client().delete_object(Bucket=self.bucket, Key=self.key)

    def upload(self, file: Path) -> None:
        """Write or replace the object by a file of this machine, of which it keeps the digest."""
        with self._told():
            _client().upload_file(str(file), self.bucket, self.key, ExtraArgs={"Metadata": {"sha256": checksum(file)}})

    def download(self, file: Path) -> None:
        """Copy the object into a file of this machine.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        with self._told():
            _client().download_file(self.bucket, self.key, str(file))

    def sha256(self) -> str | None:
        """The digest that `upload` left; None where there is no object, or one that something else wrote."""
        found = self.head()
        return None if found is None else found.get("Metadata", {}).get("sha256")

    def walk(self) -> Iterator["ObjectPath"]:
        """All objects of the folder, by key."""
        with self._told():
            pages = _client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=f"{self.key}/")
            for page in pages:
                for entry in page.get("Contents", ()):
                    yield ObjectPath(self.bucket, entry["Key"])

    def _conditionally(self, content: bytes, **condition: str) -> bool:
        try:
            with self._told():
                _client().put_object(Bucket=self.bucket, Key=self.key, Body=content, **condition)
        except _LostRace:
            return False
        return True

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors as sentences."""
        from boto3.exceptions import S3UploadFailedError
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            code = error.response.get("Error", {}).get("Code", "")
            if status == 404 and code != "NoSuchBucket":
                raise FileNotFoundError(str(self)) from error
            if status in (409, 412):
                raise _LostRace from error
            raise StorageError(f"{self}: {_MENDS.get(code, str(error))}") from error
        except (BotoCoreError, S3UploadFailedError) as error:
            why = " ".join(str(error).split()).rstrip(".")
            raise StorageError(f"{self}: {why}. Check credentials, network and AWS_ENDPOINT_URL.") from error


class _LostRace(Exception):
    """The object is not what the writer took it for."""


_MENDS = {
    "NoSuchBucket": "there is no such bucket; create it or name another.",
    "AccessDenied": "access denied; these credentials need to read, write, list and delete below this prefix.",
    "InvalidAccessKeyId": "the store does not know this access key; check the credentials.",
    "SignatureDoesNotMatch": "the secret key does not fit the access key; check the credentials.",
}


@cache
def _client() -> Any:
    # Imported here, for most people store in folders.
    import boto3
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 6}, connect_timeout=10))
