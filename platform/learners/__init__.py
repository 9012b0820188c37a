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

CHANGED_DEFAULTS = {"hactnet": {"residual": True}}
"""Options whose defaults have changed; they are part of a run's identity even where a file leaves them out, because a
key must not come to mean something else."""

__all__ = ["CHANGED_DEFAULTS", "LEARNERS", "Learner", "Predictor", "Training"]
