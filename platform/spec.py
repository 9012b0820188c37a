"""What identifies a run: everything that can change its results, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

Kind = Literal["first", "reference", "run"]


@dataclass(frozen=True)
class Component:
    """A data set or learner as the experiment file names it.

    Attributes:
        name: a registered name, or ``module:attribute`` of the user's own class.
        options: keyword arguments of the class.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SamplerSpec:
    """A sampler: an image selector, a region selector and the confidence threshold (Sec. 3 and 6).

    Attributes:
        name: what the sampler is called in reports and folders.
        images: name of the image selector.
        regions: name of the region selector.
        tau: confidence threshold of Eq. 1.
    """

    name: str
    images: str
    regions: str
    tau: float = 0.7


@dataclass(frozen=True)
class Budget:
    """Annotation budget of one cycle (Sec. 1).

    Attributes:
        n_image: images selected per cycle.
        n_region: regions selected per image.
        region: region size in pixels per axis.
    """

    n_image: int
    n_region: int
    region: tuple[int, ...]

    @property
    def label(self) -> str:
        """Short name, e.g. ``10x12-16x16``: images x regions, region size."""
        return f"{self.n_image}x{self.n_region}-" + "x".join(map(str, self.region))


@dataclass(frozen=True)
class RunSpec:
    """One run of the active-learning loop, its shared first cycle, or a full-annotation reference.

    Attributes:
        kind: ``run``; ``first`` for the first cycle that all samplers of a seed share; ``reference`` for a training
            on the fully annotated training images.
        dataset: the data set.
        fingerprint: `Dataset.fingerprint` of its data.
        learner: the learner.
        seed: seed of the repeat.
        fold: cross-validation fold.
        warm_start: whether a cycle starts from the weights of the one before.
        budget: budget per cycle; None for a reference.
        sampler: the sampler; None unless `kind` is ``run``.
        cycles: how many cycles to go; no part of the identity, so a longer experiment goes on where it stopped.
    """

    kind: Kind
    dataset: Component
    fingerprint: str
    learner: Component
    seed: int
    fold: int = 0
    warm_start: bool = False
    budget: Budget | None = None
    sampler: SamplerSpec | None = None
    cycles: int = 1

    @property
    def first(self) -> "RunSpec":
        """The first cycle that this run shares with all samplers of its seed, fold and budget."""
        return replace(self, kind="first", sampler=None, warm_start=False, cycles=1)

    def identity(self) -> dict[str, Any]:
        """Everything that can change a result, as JSON-ready data."""
        parts = json.loads(json.dumps(asdict(self)))
        del parts["cycles"]
        return dict(parts)

    @property
    def key(self) -> str:
        """Hexadecimal digest of the identity."""
        return hashlib.blake2b(json.dumps(self.identity(), sort_keys=True).encode(), digest_size=6).hexdigest()

    @property
    def label(self) -> str:
        """Human-readable name; also the folder, below which the key tells runs of different identity apart."""
        parts = [
            {"first": "first-cycle", "reference": "full-annotation", "run": ""}[self.kind],
            self.sampler.name if self.sampler else "",
            self.budget.label if self.budget else "",
            f"seed-{self.seed}-fold-{self.fold}",
        ]
        return "/".join(part for part in parts if part)

    @classmethod
    def from_identity(cls, identity: Mapping[str, Any]) -> "RunSpec":
        """Inverse of `identity` (with one cycle)."""
        parts = dict(identity)
        parts["dataset"] = Component(**parts["dataset"])
        parts["learner"] = Component(**parts["learner"])
        if parts["budget"] is not None:
            budget = parts["budget"]
            parts["budget"] = Budget(budget["n_image"], budget["n_region"], tuple(budget["region"]))
        if parts["sampler"] is not None:
            parts["sampler"] = SamplerSpec(**parts["sampler"])
        return cls(**parts)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of nested mappings by dotted key, e.g. ``learner.options.iterations`` of an identity."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
