"""Volumes resampled to the grid of an nnU-Net configuration, once per data set and machine."""

import functools
import hashlib
import importlib.metadata
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.datasets.base import Dataset, Split, is_finite, not_finite
from decomp.platform.datasets.hounsfield import clipped, is_ct, misfit
from decomp.platform.datasets.volumes import Volumes, nested_or_foreground
from decomp.platform.errors import UserError
from decomp.platform.learners.nnunet.build_once import BuildOnce
from decomp.platform.learners.nnunet.geometry import Geometry, covered, nearest
from decomp.platform.learners.nnunet.heads import heads_of
from decomp.platform.learners.nnunet.intensities import properties, sample, with_statistics
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
    """Volumes as nnU-Net reads them, in whose voxels regions are chosen.

    The grid follows from the volumes' headers. CT is clipped and standardised by the statistics of the voxels within a
    window of Hounsfield units, sampled equally from every volume of the data set, training and test alike; other
    channels volume by volume (`decomp.platform.learners.nnunet.normalisation`). No label is used, and the volumes are
    prepared once for all folds.

    Nothing is cropped: nnU-Net would cut away margins of exactly 0, and then no header could tell the shape.

    Args:
        source: the volumes.
        preparation: how they are prepared.
        cache: folder of the prepared files, shared by all processes of a machine.
    """

    def __init__(self, source: Volumes, preparation: Preparation, cache: Path) -> None:
        self.source, self.preparation, self.cache = source, preparation, cache
        self.heads = heads_of(source)
        self.classes, self.nested, self.folds = source.classes, source.nested, source.folds
        self.channels, self.labelled = source.channels, source.labelled

    def __reduce__(self) -> tuple[Any, ...]:
        return PreparedVolumes, (self.source, self.preparation, self.cache)

    @property
    def spacing(self) -> tuple[float, ...]:  # type: ignore[override]  # known once the headers are read
        """Size of the grid's voxels in millimetres; in 2-D NaN across the slices, whose distance differs."""
        spacing = self._target
        return (*(math.nan,) * (3 - len(spacing)), *spacing)

    @property
    @override
    def scored(self) -> Mapping[str, tuple[int, ...]]:
        return nested_or_foreground(self)

    @override
    def ids(self, split: Split, fold: int) -> tuple[str, ...]:
        return self.source.ids(split, fold)

    @override
    def shape(self, image: str) -> tuple[int, ...]:
        """Voxels of the grid along z, y and x, known from the headers."""
        return self.grid(image).shape

    @override
    def image(self, image: str) -> npt.NDArray[np.float32]:
        """Standardised intensities, shape (z, y, x, channels), float32."""
        from decomp.platform.learners.nnunet.resampling import stored

        return np.moveaxis(np.asarray(stored(self.files(image)[0])[:]), 0, -1)

    @override
    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        """The true classes, resampled to the grid by nnU-Net; shape (z, y, x), uint8.

        Where people label the volumes, a voxel of the grid has the class of the volume's nearest voxel instead: labels
        come window by window, and nnU-Net's interpolation would need what lies around.
        """
        if not self.labelled:
            return nearest(self.source.labels(image), self.shape(image))
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
    def original_files(self, image: str) -> tuple[Path, ...]:
        return self.source.original_files(image)

    @override
    def to_original(self, image: str, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return self.source.to_original(image, nearest(labels, self.geometry(image).shape))

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
        statistics, share = json.loads((self._statistics.get("all") / "statistics.json").read_text())
        return with_statistics(self._layout[0], statistics, share)

    def files(self, image: str) -> tuple[Path, Path]:
        """Files of intensities and true classes, shape (channels, z, y, x), as `resampling.stored` opens them."""
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
        """A sentence if some volumes, evenly spread over all, are not CT as they should be, or the default window clips
        most of them."""
        shares = []
        for image in self._images[:: -(-len(self._images) // CHECKED)]:
            volume = self.source.image(image)
            if not is_finite(volume):
                yield not_finite(image)
                return
            for channel in self._ct:
                if self.source.hounsfield and (wrong := misfit(volume[..., channel])):
                    yield f"dataset: {image}: {wrong}; give HU, or set hounsfield = False in the data set's class."
                    return
                shares.append(clipped(volume[..., channel], WINDOW))
        if shares and self.preparation.window == WINDOW and np.mean(shares) > MOST_CLIPPED:
            yield (
                f"learner.window: {np.mean(shares):.0%} of the body's voxels lie outside of {WINDOW[0]:g} to "
                f"{WINDOW[1]:g}, which is for CT in Hounsfield units; give the least and greatest intensity of tissue."
            )

    def _write_plans(self, _: str, folder: Path) -> None:
        from decomp.platform.learners.nnunet.planning import plan

        volumes = {image: Geometry(self.source.shape(image), self.source.voxel(image)) for image in self._images}
        plans = plan(volumes, self.heads, self.preparation.configuration, self.preparation.spacing)
        (folder / "plans.json").write_text(json.dumps([plans, volumes]))

    @functools.cached_property
    def _samples(self) -> BuildOnce:
        return self._build_once("intensities", self._write_sample)

    @functools.cached_property
    def _statistics(self) -> BuildOnce:
        return self._build_once("normalisation", self._write_statistics)

    @functools.cached_property
    def _grids(self) -> BuildOnce:
        return self._build_once("grids", self._write_grid)

    @functools.cached_property
    def _bodies(self) -> BuildOnce:
        return self._build_once("bodies", self._write_body)

    def _build_once(self, kind: str, write: Callable[[str, Path], None]) -> BuildOnce:
        return BuildOnce(self.cache / self._fingerprint / kind, write)

    @property
    def _ct(self) -> list[int]:
        """The channels that are in Hounsfield units."""
        return [number for number, name in enumerate(self.channels) if is_ct(name)]

    def _write_sample(self, image: str, folder: Path) -> None:
        volume = self.source.image(image)
        if not is_finite(volume):
            raise UserError(not_finite(image))
        rng = stream(0, "intensities", image=image)
        for channel in self._ct:
            voxels = sample(volume[..., channel], self.preparation.window, len(self._images), rng)
            np.save(folder / f"{channel}.npy", voxels)
        if len(self._ct) < len(self.channels):
            from decomp.platform.learners.nnunet.normalisation import nonzero, share_of

            (folder / "share.json").write_text(json.dumps(share_of(nonzero(volume))))

    def _write_statistics(self, _: str, folder: Path) -> None:
        folders = [self._samples.get(image) for image in self._images]
        statistics = [
            self._statistics_of(number, folders) if number in self._ct else {} for number in range(len(self.channels))
        ]
        shares = [json.loads(file.read_text()) for place in folders if (file := place / "share.json").exists()]
        content = [statistics, float(np.median(shares)) if shares else 1.0]
        (folder / "statistics.json").write_text(json.dumps(content))

    def _statistics_of(self, channel: int, folders: Sequence[Path]) -> dict[str, float]:
        voxels = np.concatenate([np.load(folder / f"{channel}.npy") for folder in folders])
        if not len(voxels):
            raise UserError(
                f"learner.window: no volume has voxels from {self.preparation.window[0]} to "
                f"{self.preparation.window[1]} HU; widen the window."
            )
        return properties(voxels)

    def _write_grid(self, image: str, folder: Path) -> None:
        from decomp.platform.learners.nnunet.resampling import resample, store

        volume = self.source.image(image)
        intensities, labels = resample(
            volume,
            # Labels that come later are not stored.
            self.source.labels(image) if self.labelled else np.zeros(volume.shape[:-1], np.uint8),
            self.geometry(image),
            self.plans,
            self.heads,
        )
        if intensities.shape[1:] != self.shape(image):
            raise RuntimeError(
                f"nnU-Net resampled {image!r} to {intensities.shape[1:]} voxels, but the headers promise "
                f"{self.shape(image)}; do the files' headers agree with their contents?"
            )
        store(folder, intensities, labels, self.plans)

    def _write_body(self, image: str, folder: Path) -> None:
        np.save(folder / "body.npy", np.packbits(nearest(self.source.body(image), self.shape(image))))
