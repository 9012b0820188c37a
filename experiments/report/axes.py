"""The axes of learning curves: shares of the pool, counts of an expert's actions and the time these take; scores."""

from collections.abc import Callable
from dataclasses import dataclass

from decomp.experiments.schema import AnnotationSeconds
from decomp.platform.errors import UserError, nearest
from decomp.platform.storage.records import Annotated


@dataclass(frozen=True)
class Axis:
    """A measure of annotation.

    Attributes:
        name: how the command line and files call it.
        label: what it measures, in words.
        short: heading of a column.
        amount: its value after a cycle; it never falls from cycle to cycle.
        unit: how it is shown: ``%`` for a share in [0, 1], ``h``, or nothing for a count.
        of_images: whether it counts images. Regions of the whole pool lie in many more of them than as many regions of
            a few images, so that areas under budgets of both kinds are not compared over it, see `joint_budgets`.
    """

    name: str
    label: str
    short: str
    amount: Callable[[Annotated], float]
    unit: str = ""
    of_images: bool = False

    @property
    def scale(self) -> float:
        """What an amount is multiplied by where it is shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return 2 if self.unit else 0

    @property
    def title(self) -> str:
        """The label and the unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def text(self, amount: float) -> str:
        """An amount with its unit."""
        return f"{self.scale * amount:,.{self.digits}f} {self.unit}".rstrip()


POOLS = {"miou": ("images", "pixels"), "dice": ("volumes", "voxels"), "weighted_f1": ("slides", "ROIs")}
"""By test metric, what a pool and an image consist of."""


def axes_of(metric: str, seconds: AnnotationSeconds | None = None) -> tuple[Axis, ...]:
    """All axes for runs with a test metric; the first is the paper's, and the default of figures and summaries.

    Args:
        metric: the test metric.
        seconds: what expert time is reckoned from; its defaults by default.
    """
    images, pixels = POOLS[metric]
    rois = metric == "weighted_f1"
    training = "" if rois else "training "
    share = Axis("share", f"annotated share of the {training}{pixels}", "annotated", lambda a: a.share, "%")
    label = f"processed share of the {training}{images}"
    processed = Axis("image_share", label, images, lambda a: a.image_share, "%", of_images=True)
    return (
        *((processed, share) if rois else (share, processed)),
        Axis("openings", f"{images} opened", "opened", lambda a: a.openings, of_images=True),
        Axis("regions", "annotated ROIs" if rois else "annotated regions", "regions", lambda a: a.regions),
        Axis("clicks", "clicks", "clicks", lambda a: a.clicks),
        Axis("hours", "expert time", "time", (seconds or AnnotationSeconds()).hours, "h"),
    )


def find_axis(axes: tuple[Axis, ...], name: str) -> Axis:
    """The axis of that name.

    Raises:
        UserError: if there is none.
    """
    known = {axis.name: axis for axis in axes}
    if name not in known:
        raise UserError(f"--axis: unknown axis {name!r}{nearest(name, known)}; known are {', '.join(known)}.")
    return known[name]


def score_name(metric: str) -> str:
    """How a test metric is written in tables and figures."""
    return {"miou": "mIoU", "dice": "mean Dice", "weighted_f1": "weighted F1"}.get(metric, metric)


def class_score_name(score: str) -> str:
    """How the score of a single class is written."""
    return {"iou": "IoU", "dice": "Dice", "f1": "F1"}.get(score, score)
