"""What one run occupies of the cluster."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What one run occupies.

    Attributes:
        workers: processes of a run; all predict, the first also trains.
        cpus: CPU cores of each.
        gpus: GPUs of each; fractions let several workers share one.
        runs_at_once: most runs at the same time; None for as many as fit.
        autoscaling: whether the cluster starts nodes on demand, so that what does not fit now may fit later.
    """

    workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    runs_at_once: int | None = None
    autoscaling: bool = False

    @property
    def bundle(self) -> dict[str, float]:
        """Resources of one worker, in Ray's terms."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
