"""What a finished cycle leaves behind, apart from its regions and its checkpoint."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter


@dataclass(frozen=True)
class Annotated:
    """How much is annotated after a cycle, over the whole ledger; what was annotated twice is counted twice.

    Attributes:
        images: images (slides) with at least one annotated region.
        image_share: their share of all images of the pool.
        regions: annotated regions.
        pixels: annotated pixels (ROIs).
        share: their share of all pixels (ROIs) of the pool, which is the training images and, in the ROI task, the
            validation images.
        class_pixels: annotated pixels per true class, length C.
        openings: how often an image was opened: images with annotated regions, summed over the cycles.
        clicks: clicks that it takes to annotate the regions, see `decomp.platform.loop.oracle.clicks`.
    """

    images: int
    image_share: float
    regions: int
    pixels: int
    share: float
    class_pixels: tuple[int, ...]
    openings: int
    clicks: int


@dataclass(frozen=True)
class CycleRecord:
    """Results of one cycle; the same inputs give the same record, byte for byte.

    Attributes:
        cycle: the cycle, from 1.
        metrics: test metrics of the model trained in this cycle, e.g. ``{"miou": 0.7}``.
        class_metrics: test metrics by name and class, e.g. ``{"iou": {"road": 0.9, ...}}``; None where undefined.
        annotated: the annotation that the model was trained on.
        class_confidence: delta of Eq. 1 that this cycle's selection used, length C; None where nothing was predicted.
        class_weights: w of Eq. 2 that this cycle's selection used, length C; None where nothing was predicted.
        checkpoint_sha256: digest of the trained model's file.
        selected: ids of the images selected in this cycle, in order of selection, whether regions were found in them
            or not; empty for a full-annotation reference.
        exhausted: True where no region is left to annotate after this cycle, so that the run ends here.
        regions_sha256: digest of the file of the cycle's regions; None until it is committed, and in records of
            earlier versions.
        members_sha256: digests of the files of an ensemble's further models; absent from the JSON of a single model.
    """

    cycle: int
    metrics: Mapping[str, float]
    class_metrics: Mapping[str, Mapping[str, float | None]]
    annotated: Annotated
    class_confidence: tuple[float, ...] | None
    class_weights: tuple[float, ...] | None
    checkpoint_sha256: str
    selected: tuple[str, ...] = ()
    exhausted: bool = False
    regions_sha256: str | None = None
    members_sha256: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """As JSON, in UTF-8."""
        fields = asdict(self)
        if not self.members_sha256:
            del fields["members_sha256"]
        return _to_json(fields)

    @classmethod
    def from_json(cls, content: bytes) -> "CycleRecord":
        """Inverse of `to_json`."""
        return _RECORD.validate_json(content)


@dataclass(frozen=True)
class Timing:
    """Wall times of one cycle, which differ between repetitions and so are no part of the record.

    Attributes:
        phases: seconds per phase: ``predict``, ``select``, ``train``, ``evaluate``; empty where they were lost.
        committed_at: when the cycle was committed, in milliseconds since the epoch.
        version: version of decomp that computed the cycle.
        commit: git commit of the source tree that computed it, or an empty string.
    """

    phases: Mapping[str, float]
    committed_at: int
    version: str
    commit: str

    def to_json(self) -> bytes:
        """As JSON, in UTF-8."""
        return _to_json(asdict(self))

    @classmethod
    def from_json(cls, content: bytes) -> "Timing":
        """Inverse of `to_json`."""
        return _TIMING.validate_json(content)


_RECORD, _TIMING = TypeAdapter(CycleRecord), TypeAdapter(Timing)


def _to_json(fields: Mapping[str, Any]) -> bytes:
    return (json.dumps(fields, sort_keys=True, indent=1) + "\n").encode()
