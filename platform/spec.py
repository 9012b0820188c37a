"""What identifies a run: everything that can change its results, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

Kind = Literal["first", "reference", "run"]

FORMAT = 4
"""Version of what runs leave on disk; raised with every change after which earlier runs can't be read or continued."""


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
    """A sampler: an image selector, a region selector and what both read of the predictions (Sec. 2, 3 and 6).

    Attributes:
        name: what the sampler is called in reports and folders.
        images: the image selector.
        regions: the region selector.
        tau: schedule of the confidence threshold of Eq. 1: pairs of a cycle and the threshold from that cycle on, in
            order; the first pair holds for earlier cycles too.
        emphasis: factor on 1 - delta_c by class name; 1 for the classes that are not named.
        background: class that is never sampled, or None.
        uncertainty: a `Measure`; None for the learner's own.
    """

    name: str
    images: Component
    regions: Component
    tau: tuple[tuple[int, float], ...] = ((1, 0.7),)
    emphasis: Mapping[str, float] = field(default_factory=dict)
    background: str | None = None
    uncertainty: str | None = None

    def tau_of(self, cycle: int) -> float:
        """The confidence threshold in the selection of a cycle."""
        return [tau for first, tau in self.tau if first <= cycle or first == self.tau[0][0]][-1]


RegionShape = tuple[int, ...] | Component
"""Size of a window per axis, or a partition of the image into irregular regions."""


@dataclass(frozen=True)
class Budget:
    """Annotation budget of one cycle (Sec. 1).

    Attributes:
        n_image: images selected per cycle.
        n_region: regions selected per image.
        region: shape of a region.
    """

    n_image: int
    n_region: int
    region: RegionShape

    @property
    def label(self) -> str:
        """Short name, e.g. ``10x12-16x16``: images x regions, region size."""
        if isinstance(self.region, Component):
            name = "-".join(map(str, (self.region.name.replace(":", "."), *self.region.options.values())))
        else:
            name = "x".join(map(str, self.region))
        return f"{self.n_image}x{self.n_region}-{name}"


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

    @cached_property
    def first(self) -> "RunSpec":
        """The first cycle that this run shares with all samplers of its seed, fold and budget."""
        return replace(self, kind="first", sampler=None, warm_start=False, cycles=1)

    def identity(self) -> dict[str, Any]:
        """Everything that can change a result, as JSON-ready data.

        Not on what it is computed: a GPU in place of a CPU, or several processes that train together, change the order
        of additions and so the last bits. A sweep may go on with other resources.
        """
        parts = json.loads(json.dumps(asdict(self)))
        del parts["cycles"]
        return {"format": FORMAT, **parts}

    @cached_property
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
        del parts["format"]
        parts["dataset"] = Component(**parts["dataset"])
        parts["learner"] = Component(**parts["learner"])
        if parts["budget"] is not None:
            budget = dict(parts["budget"])
            region = budget.pop("region")
            parts["budget"] = Budget(
                region=Component(**region) if isinstance(region, Mapping) else tuple(region), **budget
            )
        if parts["sampler"] is not None:
            sampler = dict(parts["sampler"])
            for role in ("images", "regions"):
                sampler[role] = Component(**sampler[role])
            sampler["tau"] = tuple((int(first), float(tau)) for first, tau in sampler["tau"])
            parts["sampler"] = SamplerSpec(**sampler)
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
