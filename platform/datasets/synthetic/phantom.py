"""The phantom: generated CT volumes in the layout of KiTS23, so nothing is downloaded.

The cases are drawn (`decomp.platform.datasets.synthetic.abdomen`), written into a folder on first use, and read from
there by the reader of the published data.
"""

import dataclasses
import gzip
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import nibabel
import numpy as np
import numpy.typing as npt
from pydantic import Field
from typing_extensions import override

from decomp.platform.datasets.kits import IMAGE, LABELS, KitsVolumes, case_name
from decomp.platform.datasets.synthetic.abdomen import draw_scan
from decomp.platform.errors import UserError
from decomp.platform.marks import NotIdentity

VERSION = 2
"""Part of the fingerprint; to be raised with every change of the generator that changes a byte."""

SIZE = (48, 64, 64)
Extent = Annotated[int, Field(ge=16)]
MAX_CASES = 10_000
GZIP_LEVEL = 6


@dataclass(frozen=True)
class Phantom(KitsVolumes):
    """Generated abdominal CT volumes; by default of about 48 x 64 x 64 voxels of 5.6 x 6.2 x 6.2 mm.

    Every case is drawn from a random stream of its own and written when it is first asked for, so cases can be made in
    any process, in any order, by several processes at once. A case depends on `seed`, `size` and its id only.
    """

    cases: Annotated[int, Field(ge=2, le=MAX_CASES)] = 16
    """Number of cases."""

    seed: int = 0
    """Seed of the data; another seed gives other patients."""

    size: tuple[Extent, Extent, Extent] = SIZE
    """Slices, rows and columns of a volume, in voxels; the number of slices varies by a fifth, and larger volumes are
    finer, since the field of view stays."""

    folds: Annotated[int, Field(ge=2)] = 2
    """Number of cross-validation folds, at most the number of cases."""

    root: Annotated[str | None, NotIdentity()] = None
    """Folder below which the cases are kept, in a folder of their own; by default the user's cache,
    ``$XDG_CACHE_HOME/decomp`` or ``~/.cache/decomp``."""

    remedy = "delete the folder of the case, it is made anew"

    def __post_init__(self) -> None:
        if self.folds > self.cases:
            raise UserError(
                f"dataset.folds: give a number from 2 to {self.cases}, the number of cases, not {self.folds}."
            )

    @override
    def case_ids(self) -> tuple[str, ...]:
        """``case_00000`` and so on."""
        return tuple(case_name(number) for number in range(self.cases))

    @override
    def case_folder(self, image: str) -> Path:
        """The folder of a case; the case is made if there is none.

        Raises:
            UserError: if it cannot be written.
        """
        folder = self._folder
        try:
            _write_case(folder, image, self.seed, self.size)
        except OSError as error:
            raise UserError(f"dataset.root: {folder} cannot be written ({error}); give another folder.") from error
        return folder / image

    @override
    def fingerprint(self) -> str:
        """Digest of all options except `root`, and of the generator's version; makes no case."""
        options = {name: value for name, value in dataclasses.asdict(self).items() if name != "root"}
        return _digest([VERSION, options])

    @property
    def _folder(self) -> Path:
        # Named after all that a case depends on, so that what lies there always fits.
        name = f"phantom-{_digest([VERSION, self.seed, self.size])[:12]}"
        return (_cache() if self.root is None else Path(self.root).expanduser()) / name


def write_phantom(root: Path, cases: int, seed: int = 0, size: tuple[int, int, int] = SIZE) -> None:
    """Write cases into a folder in the layout of KiTS23, to be read by `decomp.platform.datasets.kits.Kits23`.

    Cases that are there already are left alone.

    Args:
        root: the folder; it is made if there is none.
        cases: number of cases.
        seed: seed of the patients.
        size: slices, rows and columns; (177, 217, 217) is about the low resolution of KiTS23 in nnU-Net.
    """
    for number in range(cases):
        _write_case(root, case_name(number), seed, size)


def _write_case(root: Path, case: str, seed: int, size: tuple[int, int, int]) -> None:
    """Write a case unless it is there; whoever else writes it at the same time writes the same."""
    if (root / case).is_dir():
        return
    scan = draw_scan(seed, case, size)
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{case}-", dir=root) as scratch:
        made = Path(scratch) / case
        made.mkdir()
        for name, voxels in ((IMAGE, scan.hu), (LABELS, scan.labels)):
            (made / name).write_bytes(_encoded(voxels, scan.voxel))
        try:
            made.rename(root / case)
        except OSError:
            if not (root / case).is_dir():  # otherwise another process was faster
                raise


def _encoded(voxels: npt.NDArray[np.generic], voxel: tuple[float, float, float]) -> bytes:
    """A compressed NIfTI file whose first axis is the axial one, as published; equal volumes give equal bytes."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (*(-length for length in voxel), 1)
    return gzip.compress(nibabel.Nifti1Image(voxels, affine).to_bytes(), GZIP_LEVEL, mtime=0)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "decomp"


def _digest(options: object) -> str:
    return hashlib.blake2b(json.dumps(options, sort_keys=True).encode(), digest_size=16).hexdigest()
