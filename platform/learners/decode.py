"""From a network's logits to a `Prediction` (Sec. 2 and 6 of the method notes)."""

import torch

from decomp.platform.predictions import Prediction


def decode(logits: torch.Tensor, *, uncertainty: bool) -> Prediction:
    """Decode the logits of a softmax model, with one exponential per pixel and class.

    With e_c = exp(l_c - max_k l_k) and z = sum_c e_c, the confidence max_c p_c is 1 / z and the entropy
    -sum_c p_c ln p_c is ln z - sum_c e_c (l_c - max_k l_k) / z; the probabilities themselves are never stored.

    Args:
        logits: shape (C, *axes), float, on any device; overwritten.
        uncertainty: whether the entropy (natural log) is wanted.

    Raises:
        RuntimeError: if a logit is NaN or infinite.
    """
    top, labels = logits.max(dim=0)
    shifted = logits.sub_(top)
    exponentials = shifted.exp()
    total = exponentials.sum(dim=0)
    entropy = total.log().sub_(exponentials.mul_(shifted).sum(dim=0).div_(total)).clamp_(min=0) if uncertainty else None
    if not bool(torch.isfinite(total if entropy is None else entropy).all()):
        raise RuntimeError("The model's output is not finite; lower the learning rate or check the image for NaN.")
    return Prediction(
        labels.to(torch.uint8).cpu().numpy(),
        total.reciprocal_().float().cpu().numpy(),
        None if entropy is None else entropy.float().cpu().numpy(),
    )
