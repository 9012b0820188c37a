"""What one run occupies of the cluster."""

from typing import Annotated

import pydantic
from pydantic import Field, StrictBool, StrictFloat, StrictInt
from pydantic.dataclasses import dataclass

LEAST = 0.0001
"""Smallest part of a core or GPU that Ray counts."""


@dataclass(frozen=True, config={"extra": "forbid"})
class Resources:
    """What one run occupies, and for estimates how long it takes."""

    workers: Annotated[StrictInt, Field(ge=1)] = 1
    """Processes of a run; all predict."""

    training_workers: Annotated[StrictInt, Field(ge=1)] = 1
    """How many of them, the first ones, train one model together, each on a part of every batch.

    Like a GPU in place of a CPU, this changes the order of additions, hence the last bits of a model, but is no part of
    a run's identity: a run can go on with another number, and the same number gives the same bytes.
    """

    cpus: Annotated[StrictFloat, Field(ge=LEAST, allow_inf_nan=False)] = 1.0
    """CPU cores of each worker."""

    gpus: Annotated[StrictFloat, Field(ge=0, allow_inf_nan=False)] = 0.0
    """GPUs of each worker; fractions let several workers share one."""

    runs_at_once: Annotated[StrictInt, Field(ge=1)] | None = None
    """Maximum number of runs at the same time; None for as many as fit."""

    autoscaling: StrictBool = False
    """Whether the cluster starts nodes on demand, so that what does not fit now may fit later."""

    seconds_per_epoch: Annotated[StrictFloat, Field(gt=0)] | None = None
    """How long an epoch of training takes, for the estimate of `decomp check`; None for no estimate."""

    @property
    def bundle(self) -> dict[str, float]:
        """Resources of one worker, in Ray's terms."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})

    @pydantic.field_validator("gpus")
    @classmethod
    def _divisible(cls, gpus: float) -> float:
        if 0 < gpus < LEAST or (gpus > 1 and not gpus.is_integer()):
            raise ValueError(f"give 0, a fraction of a single GPU from {LEAST} on, or a whole number of GPUs")
        return gpus

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Resources":
        if self.autoscaling and self.runs_at_once is None:
            raise ValueError("resources.autoscaling: say with resources.runs_at_once how far the cluster may grow")
        if self.training_workers > self.workers:
            raise ValueError(
                f"resources.training_workers: {self.training_workers} of a run's workers cannot train together, since "
                f"it has {self.workers}; lower it or raise resources.workers"
            )
        if self.training_workers > 1 and 0 < self.gpus < 1:
            raise ValueError(
                "resources.training_workers: workers that train together need a GPU each; set resources.gpus to 1 "
                "(or 0 for none), or resources.training_workers to 1"
            )
        return self
