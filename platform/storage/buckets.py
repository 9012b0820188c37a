"""Requests to a bucket of an object store: S3 and what speaks it, Google Cloud Storage, Azure.

The client is obstore: conditional writes on all three, large files sent and fetched in parts, never whole in memory.
"""

import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
from obstore.store import AzureStore, GCSStore, S3Store

from decomp.platform.errors import StorageError
from decomp.platform.storage.files import checksum

if TYPE_CHECKING:
    from obstore import ObjectMeta, UpdateVersion
    from obstore.store import ClientConfig, RetryConfig

SCHEMES = ("s3", "gs", "az")
"""Amazon S3 or a store that speaks it, Google Cloud Storage, Azure Blob Storage."""

DIGEST = "sha256"
"""Name of the metadata that holds a large object's digest."""

RETRIES = 5
"""How often a request is repeated that got no answer, or that was told to wait: some ten seconds in all."""


@dataclass(frozen=True)
class Bucket:
    """A bucket (Azure: a container) and its objects by key; keys are in UTF-8, their parts separated by slashes.

    Every method raises `StorageError` where the store refuses or does not answer. Credentials are found where all tools
    of the store find them, see ``docs/results.md``.

    Attributes:
        url: e.g. ``s3://name``.
    """

    url: str

    def get(self, key: str) -> bytes:
        """Content of an object.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        with self._errors_as_sentences(key):
            return bytes(obstore.get(_store(self.url), key).bytes())

    def put(self, key: str, content: bytes) -> None:
        """Write or replace an object; it is there whole or not at all."""
        with self._errors_as_sentences(key):
            obstore.put(_store(self.url), key, content)

    def create(self, key: str, content: bytes) -> bool:
        """Write an object unless there is one; of several writers one wins. Returns whether this one did."""
        try:
            with self._errors_as_sentences(key):
                obstore.put(_store(self.url), key, content, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def replace(self, key: str, version: "ObjectMeta", content: bytes) -> bool:
        """Replace an object if it is still the version that `head` returned; returns whether it was."""
        try:
            with self._errors_as_sentences(key):
                unchanged: UpdateVersion = {"e_tag": version["e_tag"]}
                if version["version"] is not None:  # Google's stores compare this one
                    unchanged["version"] = version["version"]
                obstore.put(_store(self.url), key, content, mode=unchanged)
        except PreconditionError:
            return False
        return True

    def head(self, key: str) -> "ObjectMeta | None":
        """Version and time of an object; None where there is none."""
        try:
            with self._errors_as_sentences(key):
                return obstore.head(_store(self.url), key)
        except FileNotFoundError:
            return None

    def delete(self, key: str) -> None:
        """Delete an object; it is no fault if there is none."""
        try:
            with self._errors_as_sentences(key):
                obstore.delete(_store(self.url), key)
        except FileNotFoundError:
            return

    def keys(self, folder: str) -> Iterator[str]:
        """Keys of all objects of a folder, at any depth."""
        with self._errors_as_sentences(folder):
            for page in obstore.list(_store(self.url), folder or None):
                for entry in page:
                    yield entry["path"]

    def names(self, folder: str) -> frozenset[str]:
        """Names of the objects and folders directly in a folder."""
        with self._errors_as_sentences(folder):
            listed = obstore.list_with_delimiter(_store(self.url), folder or None)
        keys = [*listed["common_prefixes"], *(entry["path"] for entry in listed["objects"])]
        return frozenset(key.rstrip("/").rpartition("/")[2] for key in keys)

    def upload(self, key: str, file: Path) -> None:
        """Write or replace an object with a file of this machine; its metadata hold the file's digest."""
        attributes = {DIGEST: checksum(file)}
        with self._errors_as_sentences(key):
            obstore.put(_store(self.url), key, Path(file), attributes=attributes)

    def download(self, key: str, file: Path) -> None:
        """Copy an object into a file of this machine.

        Raises:
            FileNotFoundError: if there is no such object.
        """
        with self._errors_as_sentences(key), file.open("wb") as stream:
            for part in obstore.get(_store(self.url), key).stream():
                stream.write(part)

    def sha256(self, key: str) -> str | None:
        """The digest that `upload` left; None where there is no object, or one that something else wrote."""
        try:
            with self._errors_as_sentences(key):
                return obstore.get(_store(self.url), key, options={"head": True}).attributes.get(DIGEST)
        except FileNotFoundError:
            return None

    def now(self) -> datetime:
        """Time by the store's own clock, which stamps its objects; by this machine's where the store tells none."""
        try:
            url = obstore.sign(_store(self.url), "HEAD", "clock", timedelta(minutes=1))
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
                date = answer.headers["Date"]
        except urllib.error.HTTPError as error:  # there is no such object; the answer has a date all the same
            date = error.headers["Date"]
        except (BaseError, ValueError, OSError):  # these credentials cannot sign
            date = None
        return parsedate_to_datetime(date) if date else datetime.now(UTC)

    @contextmanager
    def _errors_as_sentences(self, key: str) -> Iterator[None]:
        try:
            yield
        except (AlreadyExistsError, PreconditionError):
            raise
        except (FileNotFoundError, BaseError) as error:
            answer = str(error)
            code = _match(r"<Code>(\w+)</Code>", answer)
            if isinstance(error, FileNotFoundError) and code not in _MENDS:
                raise FileNotFoundError(f"{self.url}/{key}") from error
            if isinstance(error, PermissionDeniedError):
                code = code or "AccessDenied"  # which a HEAD request's answer does not say
            raise StorageError(f"{self.url}/{key}: {_MENDS.get(code or '') or _sentence(answer)}") from error


def _sentence(answer: str) -> str:
    """What obstore says about a failure, without its debugging output."""
    if "region" in answer and "redirect" in answer.lower():
        return "the bucket is in another region; set AWS_DEFAULT_REGION."
    request = _match(r"Error performing ([A-Z]+ [^\s?]+)", answer)
    status = _match(r"status code: ([^:\n]+)", answer)
    if status:
        why = f"the store answers {status} ({_match(r'<Message>([^<]+)', answer) or request})"
    elif request:
        why = f"the store does not answer ({request})"
    else:
        why = answer.splitlines()[0].rstrip(".")
    return f"{why}. Check credentials, network and endpoint."


def _match(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1] if match else None


_NO_BUCKET = "there is no such bucket; create it or name another."
_UNKNOWN_KEY = "the store does not know this access key; check the credentials."
_WRONG_SECRET = "the secret key does not fit the access key; check the credentials."
_MENDS = {
    "NoSuchBucket": _NO_BUCKET,
    "ContainerNotFound": _NO_BUCKET,
    "AccessDenied": "access denied; these credentials need to read, write, list and delete below this prefix.",
    "InvalidAccessKeyId": _UNKNOWN_KEY,
    "SignatureDoesNotMatch": _WRONG_SECRET,
    "AuthenticationFailed": _WRONG_SECRET,
}
"""Sentences by the code of a store's answer; the container and the last code are Azure's."""


@cache
def _store(url: str) -> S3Store | GCSStore | AzureStore:
    scheme, _, name = url.partition("://")
    client: ClientConfig = {"allow_http": True, "connect_timeout": "10s", "read_timeout": "60s", "timeout": "10m"}
    retry: RetryConfig = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(minutes=1),
        "backoff": {"init_backoff": timedelta(seconds=0.25), "max_backoff": timedelta(seconds=10)},
    }
    try:
        match scheme:
            case "gs":
                return GCSStore(name, client_options=client, retry_config=retry)
            case "az":
                return AzureStore(name, client_options=client, retry_config=retry)
            case _:
                return _s3(name, client, retry)
    except BaseError as error:
        raise StorageError(f"{url}: {str(error).splitlines()[0]}. Check the store's environment variables.") from error


def _s3(name: str, client: "ClientConfig", retry: "RetryConfig") -> S3Store:
    """With the credentials, region and endpoint that all tools of AWS find, profiles of ``~/.aws`` included."""
    # Imported here because it takes a second, and most people store in folders.
    import boto3
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        session = boto3.Session()
        settings = session.client("s3").meta
        credentials = Boto3CredentialProvider(session)
    except ValueError as error:
        raise StorageError(f"s3://{name}: no credentials are found; set AWS_PROFILE or AWS_ACCESS_KEY_ID.") from error
    except BotoCoreError as error:
        raise StorageError(f"s3://{name}: {str(error).rstrip('.')}. Check ~/.aws and the AWS variables.") from error
    return S3Store(
        name,
        endpoint=settings.endpoint_url,
        region=settings.region_name,
        credential_provider=credentials,
        disable_bulk_delete=True,  # which some stores that speak S3 do not know
        client_options=client,
        retry_config=retry,
    )
