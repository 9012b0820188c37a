"""What a user writes as the place of the results."""

import re

from decomp.platform.errors import UserError
from decomp.platform.storage.buckets import SCHEMES
from decomp.platform.storage.files import FilePath
from decomp.platform.storage.location import Location
from decomp.platform.storage.objects import ObjectPath

BUCKET = re.compile(rf"({'|'.join(SCHEMES)})://[a-z0-9][a-z0-9._-]+(/.*)?")


def parse_location(storage: str) -> Location:
    """A folder, made absolute, or a bucket's folder ``s3://bucket/prefix``, ``gs://bucket/prefix``, ``az://...``.

    Raises:
        UserError: where it is a URL of something else.
    """
    if "://" not in storage and not storage.startswith(tuple(f"{scheme}:" for scheme in SCHEMES)):
        return FilePath(storage).expanduser().absolute()
    if not BUCKET.fullmatch(storage):
        raise UserError("give a folder that all nodes see, or s3://bucket/prefix (gs://, az://)")
    return ObjectPath.parse(storage)
