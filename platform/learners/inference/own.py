"""Uncertainty by a measure of the user's own, which is given the passes of an image one by one."""

import torch

from decomp.platform.errors import UserError
from decomp.platform.learners.inference.maps import quantised
from decomp.platform.measures import OwnMeasure
from decomp.platform.predictions import UncertaintyMap


def add_pass(measure: OwnMeasure, logits: torch.Tensor) -> None:
    """Show the measure one pass; `logits` have the shape (C, *axes)."""
    measure.add(logits.detach().flatten(1).float().softmax(0))


def own_uncertainty(measure: OwnMeasure, logits: torch.Tensor) -> UncertaintyMap:
    """What the measure says after the last pass, in levels, shape (*axes).

    Args:
        measure: has been shown all passes.
        logits: whose softmax is the mean of the passes, shape (C, *axes).

    Raises:
        UserError: if its values have another shape, or are not finite.
    """
    mean = logits.detach().flatten(1).float().softmax(0)
    values = torch.as_tensor(measure.values(mean)).float()
    name = type(measure).__name__
    if values.shape != mean.shape[1:]:
        raise UserError(
            f"{name}.values gave the shape {tuple(values.shape)} for {mean.shape[1]} pixels; give one value for each."
        )
    if not bool(torch.isfinite(values).all()):
        raise UserError(f"{name}.values gave NaN or infinite values; give numbers from 0 to {measure.greatest:g}.")
    return quantised(values.reshape(logits.shape[1:]), measure.greatest)
