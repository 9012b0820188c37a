"""What one run occupies of the cluster."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What one run occupies.

    Attributes:
        workers: processes of a run; all predict.
        training_workers: how many of them, the first ones, train together, each on a part of every batch. Like a GPU
            in place of a CPU this changes the order of additions, hence the last bits of a model, and is no part of a
            run's identity: a run goes on with another number, and with the same one gives the same bytes.
        cpus: CPU cores of each.
        gpus: GPUs of each; fractions let several workers share one.
        runs_at_once: most runs at the same time; None for as many as fit.
        autoscaling: whether the cluster starts nodes on demand, so that what does not fit now may fit later.
    """

    workers: int = 1
    training_workers: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    runs_at_once: int | None = None
    autoscaling: bool = False

    @property
    def bundle(self) -> dict[str, float]:
        """Resources of one worker, in Ray's terms."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
