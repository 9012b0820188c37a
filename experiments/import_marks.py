"""Which runs of an experiment were imported from an archive: one small file in the experiment's folder.

A run counts as imported as long as its first own cycle is the one that was imported; one that is deleted, or computed
again, does not.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from decomp.platform.errors import UserError
from decomp.platform.storage.location import Location

IMPORTS = "imports.json"


@dataclass(frozen=True)
class Import:
    """Where the cycles of a run come from.

    Attributes:
        archive: name of the archive's file.
        sha256: its digest.
        committed_at: when the first imported cycle was committed, in milliseconds since the epoch.
        metrics: test metrics of the shared first cycle that the run started from, which may be trained again here.
        earlier: the source of the archive's own import, if the run had come into it from another archive.
    """

    archive: str
    sha256: str
    committed_at: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    earlier: str = ""

    @property
    def source(self) -> str:
        """The archive and the beginning of its digest, and where it had the run from."""
        source = f"{self.archive} (SHA-256 {self.sha256[:12]}...)"
        return f"{source}, itself imported from {self.earlier}" if self.earlier else source


_IMPORTS = TypeAdapter(dict[str, Import])


def read_imports(root: Location) -> dict[str, Import]:
    """By the key of a run where it was imported from; empty where nothing was.

    Raises:
        UserError: if the file is damaged.
    """
    try:
        return _IMPORTS.validate_json((root / IMPORTS).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(
            f"{root / IMPORTS} is damaged; import the archives again, or delete it, and imported runs are no longer "
            f"marked as such."
        ) from error


def add_imports(root: Location, imports: Mapping[str, Import]) -> None:
    """Write down that runs are imported, before their cycles are."""
    known = _IMPORTS.dump_python(read_imports(root) | dict(imports), mode="json")
    (root / IMPORTS).write_atomically((json.dumps(known, sort_keys=True, indent=1) + "\n").encode())
