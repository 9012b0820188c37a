"""Volumes resampled to the grid of an nnU-Net configuration, once per data set and machine."""

import functools
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split, is_finite, not_finite
from decomp.platform.datasets.hounsfield import clipped, misfit
from decomp.platform.datasets.volumes import Volumes
from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet.build_once import BuildOnce
from decomp.platform.learners.nnunet.geometry import Geometry, covered, nearest
from decomp.platform.learners.nnunet.nesting import Nesting
from decomp.platform.randomness import stream
from decomp.platform.regions import Region

if TYPE_CHECKING:
    from decomp.platform.learners.nnunet.planning import Plans

FORMAT = 1
"""Version of the prepared files; raised with every change in how they are made."""

WINDOW = (-200.0, 500.0)
"""Hounsfield units that the intensity statistics come from by default: those of soft tissue and contrast agents."""

CHECKED, MOST_CLIPPED = 4, 0.5
"""How many volumes are checked against the default window, and the share of the body that it may clip."""

SAMPLES, SAMPLES_PER_VOLUME = 10**7, 2 * 10**5
"""Voxels that the intensity statistics come from: of all volumes together, and of one at most."""


@dataclass(frozen=True)
class Preparation:
    """What the prepared volumes depend on besides the data.

    Attributes:
        configuration: ``"2d"``, ``"3d_lowres"`` or ``"3d_fullres"``.
        spacing: of the grid along z, y and x in millimetres; None for nnU-Net's choice.
        window: Hounsfield units, both included, of the voxels that the intensity statistics come from.
    """

    configuration: str
    spacing: tuple[float, float, float] | None
    window: tuple[float, float]


class PreparedVolumes(Dataset):
    """CT volumes as nnU-Net reads them, in whose voxels regions are chosen.

    The grid follows from the volumes' headers. Intensities are clipped and standardised by the statistics of the voxels
    within a window of Hounsfield units, sampled equally from every volume of the data set, training and test alike: no
    label is used, and the volumes are prepared once for all folds.

    Nothing is cropped: nnU-Net would cut away margins of exactly 0 HU, and then no header could tell the shape.

    Args:
        source: the volumes.
        preparation: how they are prepared.
        cache: folder of the prepared files, shared by all processes of a machine.
    """

    def __init__(self, source: Volumes, preparation: Preparation, cache: Path) -> None:
        self.source, self.preparation, self.cache = source, preparation, cache
        self.nesting = Nesting.of_dataset(source)
        self.classes, self.nested, self.folds = source.classes, source.nested, source.folds

    def __reduce__(self) -> tuple[Any, ...]:
        return PreparedVolumes, (self.source, self.preparation, self.cache)

    @property
    def spacing(self) -> tuple[float, ...] | None:  # type: ignore[override]  # known once the headers are read
        """Size of the grid's voxels in millimetres; None in 2-D, where the distance between slices differs."""
        spacing = self._target
        return spacing if len(spacing) == 3 else None

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return self.source.ids(split, fold)

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Voxels of the grid along z, y and x, known from the headers."""
        return self.grid(image).shape

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Standardised intensities, shape (z, y, x, 1), float32."""
        from decomp.platform.learners.nnunet.resampling import stored

        return np.asarray(stored(self.files(image)[0])[0])[..., None]

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """The true classes, resampled to the grid by nnU-Net; shape (z, y, x), uint8."""
        from decomp.platform.learners.nnunet.resampling import stored

        return np.asarray(stored(self.files(image)[1])[0])

    @override
    def body(self, image: str) -> npt.NDArray[np.bool_]:
        """The body in the grid's voxels, each that of the volume's nearest voxel; shape (z, y, x), bool."""
        packed = np.load(self._bodies.get(image) / "body.npy")
        shape = self.shape(image)
        return np.unpackbits(packed, count=math.prod(shape)).reshape(shape).view(np.bool_)

    @override
    def original(self, region: Region) -> Region:
        """The voxels of the volume that a region of the grid covers, as the volumes' own `original` counts them."""
        grid, volume = self.shape(region.image), self.geometry(region.image).shape
        return self.source.original(covered(region, grid, volume))

    @override
    def problems(self) -> list[str]:
        """The volumes' problems; if there are none, whether their intensities fit the default window."""
        return self.source.problems() or list(self._misfits())

    @override
    def fingerprint(self) -> str:
        """Digest of the volumes and of everything that changes the prepared files."""
        return self._fingerprint

    def geometry(self, image: str) -> Geometry:
        """Geometry of the volume."""
        return self._layout[1][image]

    def grid(self, image: str) -> Geometry:
        """Geometry of the volume's grid."""
        return self.geometry(image).resampled(self._target)

    def complete(self, images: Iterable[str]) -> None:
        """Prepare these volumes; those that other processes are preparing come last."""
        self.plans  # noqa: B018 - all processes take part in the statistics before one locks a volume
        self._grids.complete(images)

    @functools.cached_property
    def plans(self) -> "Plans":
        """nnU-Net's plans, intensity statistics included; reads every volume when first asked for on a machine."""
        images = self._images
        if not self._statistics.has("all"):
            self._samples.complete(images)
        statistics = json.loads((self._statistics.get("all") / "statistics.json").read_text())
        return {**self._layout[0], "foreground_intensity_properties_per_channel": {"0": statistics}}

    def files(self, image: str) -> tuple[Path, Path]:
        """Files of intensities and true classes, both of shape (1, z, y, x), as `resampling.stored` opens them."""
        self.plans  # noqa: B018 - as in `complete`
        folder = self._grids.get(image, self._later(image))
        return folder / "case.b2nd", folder / "case_seg.b2nd"

    @property
    def _target(self) -> tuple[float, ...]:
        return tuple(self._layout[0]["configurations"][self.preparation.configuration]["spacing"])

    @functools.cached_property
    def _images(self) -> tuple[str, ...]:
        splits = [self.ids(split, fold) for split in get_args(Split) for fold in range(self.folds)]
        return tuple(sorted({image for images in splits for image in images}))

    def _later(self, image: str) -> tuple[str, ...]:
        """All other volumes, from the next one on."""
        place = self._images.index(image)
        return self._images[place + 1 :] + self._images[:place]

    @functools.cached_property
    def _fingerprint(self) -> str:
        state = [FORMAT, importlib.metadata.version("nnunetv2"), self.source.fingerprint(), asdict(self.preparation)]
        return hashlib.blake2b(json.dumps(state).encode(), digest_size=16).hexdigest()

    @functools.cached_property
    def _layout(self) -> tuple["Plans", dict[str, Geometry]]:
        """Plans without intensity statistics, and the geometry of the volumes."""
        file = self._build_once("plans", self._write_plans).get("all") / "plans.json"
        plans, volumes = json.loads(file.read_text())
        return plans, {image: Geometry(tuple(shape), tuple(voxel)) for image, (shape, voxel) in volumes.items()}

    def _misfits(self) -> Iterator[str]:
        """A sentence if some volumes, evenly spread over all, are not CT, or the default window clips most of them."""
        shares = []
        for image in self._images[:: -(-len(self._images) // CHECKED)]:
            voxels = self.source.image(image)[..., 0]
            if not is_finite(voxels):
                yield not_finite(image)
                return
            if self.source.hounsfield and (wrong := misfit(voxels)):
                yield f"dataset: {image}: {wrong}; give HU, or set hounsfield = False in the data set's class."
                return
            shares.append(clipped(voxels, WINDOW))
        if self.preparation.window == WINDOW and np.mean(shares) > MOST_CLIPPED:
            yield (
                f"learner.window: {np.mean(shares):.0%} of the body's voxels lie outside of {WINDOW[0]:g} to "
                f"{WINDOW[1]:g}, which is for CT in Hounsfield units; give the least and greatest intensity of tissue."
            )

    def _write_plans(self, _: str, folder: Path) -> None:
        from decomp.platform.learners.nnunet.planning import plan

        volumes = {image: Geometry(self.source.shape(image), self.source.voxel(image)) for image in self._images}
        plans = plan(volumes, self.nesting, self.preparation.configuration, self.preparation.spacing)
        (folder / "plans.json").write_text(json.dumps([plans, volumes]))

    @functools.cached_property
    def _samples(self) -> BuildOnce:
        return self._build_once("samples", self._write_sample)

    @functools.cached_property
    def _statistics(self) -> BuildOnce:
        return self._build_once("statistics", self._write_statistics)

    @functools.cached_property
    def _grids(self) -> BuildOnce:
        return self._build_once("grids", self._write_grid)

    @functools.cached_property
    def _bodies(self) -> BuildOnce:
        return self._build_once("bodies", self._write_body)

    def _build_once(self, kind: str, write: Callable[[str, Path], None]) -> BuildOnce:
        return BuildOnce(self.cache / self._fingerprint / kind, write)

    def _write_sample(self, image: str, folder: Path) -> None:
        lower, upper = self.preparation.window
        voxels = self.source.image(image)
        if not is_finite(voxels):
            raise UserError(not_finite(image))
        voxels = voxels[(voxels >= lower) & (voxels <= upper)]
        # With replacement, as nnU-Net draws, so that every volume counts the same.
        size = min(SAMPLES_PER_VOLUME, SAMPLES // len(self._images)) if len(voxels) else 0
        places = stream(0, "intensities", image=image).integers(len(voxels) or 1, size=size)
        np.save(folder / "sample.npy", voxels[places])

    def _write_statistics(self, _: str, folder: Path) -> None:
        voxels = np.concatenate([np.load(self._samples.get(image) / "sample.npy") for image in self._images])
        if not len(voxels):
            raise UserError(
                f"learner.window: no volume has voxels from {self.preparation.window[0]} to "
                f"{self.preparation.window[1]} HU; widen the window."
            )
        lower, median, upper = np.percentile(voxels, (0.5, 50, 99.5))
        statistics = {
            "mean": voxels.mean(dtype=np.float64),
            "std": voxels.std(dtype=np.float64),
            "median": median,
            "min": voxels.min(),
            "max": voxels.max(),
            "percentile_00_5": lower,
            "percentile_99_5": upper,
        }
        statistics = {name: float(value) for name, value in statistics.items()}
        (folder / "statistics.json").write_text(json.dumps(statistics))

    def _write_grid(self, image: str, folder: Path) -> None:
        from decomp.platform.learners.nnunet.resampling import resample, store

        intensities, labels = resample(
            self.source.image(image)[..., 0],
            self.source.labels(image),
            self.geometry(image),
            self.plans,
            self.nesting,
        )
        if intensities.shape[1:] != self.shape(image):
            raise RuntimeError(
                f"nnU-Net resampled {image!r} to {intensities.shape[1:]} voxels, but the headers promise "
                f"{self.shape(image)}; do the files' headers agree with their contents?"
            )
        store(folder, intensities, labels, self.plans)

    def _write_body(self, image: str, folder: Path) -> None:
        np.save(folder / "body.npy", np.packbits(nearest(self.source.body(image), self.shape(image))))
