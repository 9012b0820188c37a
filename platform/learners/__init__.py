"""Learners: `base.Learner` is the contract; each module holds one backend."""

from decomp.platform.learners.base import Learner, Predictor, Training

LEARNERS = {
    "unet": "decomp.platform.learners.unet:UNet",
    "mlp": "decomp.platform.learners.mlp:Mlp",
    "hactnet": "decomp.platform.learners.hactnet:HactNet",
}

__all__ = ["LEARNERS", "Learner", "Predictor", "Training"]
