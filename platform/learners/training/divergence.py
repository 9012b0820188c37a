"""Why a training's loss is not finite."""

from collections.abc import Iterable

from decomp.platform.datasets.base import Dataset, is_finite, not_finite
from decomp.platform.errors import UserError


def diverged(what: str, dataset: Dataset, images: Iterable[str]) -> Exception:
    """The error to raise: about an image that is not finite, if there is one, else about too high a learning rate.

    Args:
        what: what happened, such as ``The training of the U-Net diverged by iteration 40``.
        dataset: the data set.
        images: what was trained on; all are read again.
    """
    for image in images:
        if not is_finite(dataset.image(image)):
            return UserError(not_finite(image))
    return RuntimeError(f"{what}; lower learning_rate.")
