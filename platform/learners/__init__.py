"""Learners: `base.Learner` is the contract; each module holds one backend."""

from decomp.platform.learners.base import Learner, Predictor, Training

LEARNERS = {
    "unet": "decomp.platform.learners.unet:UNet",
}

__all__ = ["LEARNERS", "Learner", "Predictor", "Training"]
