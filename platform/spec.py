"""What identifies a run: everything that can change its results, and nothing else."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

import pydantic

from decomp.platform.grid import Budget, Component, Sampler, Start
from decomp.platform.passes import Passes

Kind = Literal["first", "reference", "run"]

LATER = ("total", "start", "passes", "tau_quantile", "reselect_below")
"""Keys that the identity lacks where they are None, since runs began before there were such keys."""

FORMAT = 4
"""Version of what runs leave on disk; raised with every change after which earlier runs can't be read or continued."""


@dataclass(frozen=True)
class RunSpec:
    """One run of the active-learning loop, its shared first cycle, or a full-annotation reference."""

    kind: Kind
    """``run``; ``first`` for the first cycle that all samplers of a seed share; ``reference`` for a training on the
    fully annotated training images."""

    dataset: Component
    """The data set."""

    fingerprint: str
    """`Dataset.fingerprint` of its data."""

    learner: Component
    """The learner."""

    seed: int
    """Seed of the repeat."""

    fold: int = 0
    """Cross-validation fold."""

    warm_start: bool = False
    """Whether a cycle starts from the weights of the one before."""

    budget: Budget | None = None
    """Budget per cycle; None for a reference."""

    sampler: Sampler | None = None
    """The sampler; None unless `kind` is ``run``."""

    start: Start | None = None
    """The first cycle, with its budget; None for a random one with the run's own budget, and for a reference."""

    passes: Passes | None = None
    """The passes in which images are predicted; None for a single one."""

    cycles: int = 1
    """How many cycles to run; not part of the identity, so a longer experiment goes on where a shorter one stopped."""

    @cached_property
    def first(self) -> "RunSpec":
        """The first cycle that this run shares with all samplers of its seed, fold and budget."""
        budget = self.budget if self.start is None else self.start.budget
        passes = self.passes and self.passes.in_first_cycle
        return replace(self, kind="first", sampler=None, warm_start=False, passes=passes, cycles=1, budget=budget)

    @property
    def members(self) -> int:
        """Models that are trained in each cycle."""
        return self.passes.members if self.passes else 1

    def identity(self) -> dict[str, Any]:
        """Everything that can change a result, as JSON-ready data.

        What it is computed on is left out: a GPU in place of a CPU, or data-parallel training, changes the order of
        additions and so the last bits, but a sweep may go on with other resources.
        """
        fields = json.loads(json.dumps(asdict(self, dict_factory=_identity_of)))
        del fields["cycles"]
        return {"format": FORMAT, **fields}

    @cached_property
    def key(self) -> str:
        """Hexadecimal digest of the identity."""
        return key_of(self.identity())

    @property
    def label(self) -> str:
        """Human-readable name; also the folder, below which the key tells runs of different identity apart."""
        folders = [
            {"first": "first-cycle", "reference": "full-annotation", "run": ""}[self.kind],
            self.sampler.name if self.sampler else "",
            self.budget.label if self.budget else "",
            f"seed-{self.seed}-fold-{self.fold}",
        ]
        return "/".join(folder for folder in folders if folder)

    @classmethod
    def from_json(cls, identity: bytes | str) -> "RunSpec":
        """Inverse of `identity`, given as JSON (with one cycle); `ValueError` if it is not an identity."""
        return _RUN_SPEC.validate_json(identity)


_RUN_SPEC = pydantic.TypeAdapter(RunSpec)


def _identity_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a dataclass as the identity has them; a component's options give way to what identifies it."""
    fields = {name: value for name, value in pairs if value is not None or name not in LATER}
    if "identifying" in fields:
        identifying = fields.pop("identifying")
        fields["options"] = fields["options"] if identifying is None else identifying
        if not fields["code"]:
            del fields["code"]
    return fields


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of the run that has this identity; also tells whether a stored identity is intact."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()
