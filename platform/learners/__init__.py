"""Learners: `base.Learner` is the contract; each module holds one backend."""

from decomp.platform.learners.base import Learner, Predictor, Training

LEARNERS = {
    "unet": "decomp.platform.learners.unet:UNet",
    "upernet": "decomp.platform.learners.upernet:UperNet",
    "smp": "decomp.platform.learners.smp:Smp",
    "mlp": "decomp.platform.learners.mlp:Mlp",
    "hactnet": "decomp.platform.learners.hactnet:HactNet",
    "nnunet": "decomp.platform.learners.nnunet:NnUNet",
}

__all__ = ["LEARNERS", "Learner", "Predictor", "Training"]
