"""What identifies a run: everything that can change its results, and nothing else.

An experiment file holds these types too. Each of them says what a file may leave out or shorten; in a run's identity,
which is JSON, everything is written out.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import InitVar, asdict, dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, StrictFloat, StrictInt, ValidationInfo
from pydantic.dataclasses import dataclass as pydantic_dataclass

from decomp.platform.errors import nearest
from decomp.platform.names import SAMPLERS, check_name, pair_name
from decomp.platform.predictions import Measure
from decomp.platform.values import canonical

Kind = Literal["first", "reference", "run"]

FORMAT = 4
"""Version of what runs leave on disk; raised with every change after which earlier runs can't be read or continued."""


@pydantic_dataclass(frozen=True, config={"extra": "forbid"})
class Component:
    """A data set, learner, selector or partition; in a file, its name and options side by side, or its name alone."""

    name: str
    """A registered name, or ``module:attribute`` of the user's own class."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of the class."""

    code: str = ""
    """Digest of the source of the user's own class; empty for the built-in ones."""

    identifying: Mapping[str, Any] | None = None
    """What stands in a run's identity in place of the options; None for the options themselves."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_file(cls, written: Any, info: ValidationInfo) -> Any:
        if isinstance(written, str):
            return {"name": written}
        if isinstance(written, Mapping) and info.mode == "python":
            if wrong := [key for key in written if not isinstance(key, str)]:
                raise ValueError(f"the name of an option is text, not {wrong[0]!r}")
            options = {key: value for key, value in written.items() if key != "name"}
            return {key: value for key, value in written.items() if key == "name"} | {"options": options}
        return written

    def with_options(self, options: Mapping[str, Any]) -> "Component":
        """The same component with some options added or replaced; what identifies it must be determined anew."""
        return replace(self, options={**self.options, **options}, identifying=None)


_COMPONENT = pydantic.TypeAdapter(Component)


@pydantic_dataclass(frozen=True, config={"extra": "forbid", "coerce_numbers_to_str": True})
class Sampler:
    """A sampler: an image selector, a region selector and what both read of the predictions (Sec. 2, 3 and 6)."""

    name: str
    """What the sampler is called in reports and folders; by default as the paper calls it, e.g. ``uncert_decomp``."""

    images: Component
    """The image selector."""

    regions: Component
    """The region selector."""

    tau: tuple[tuple[int, float], ...] = ((1, 0.7),)
    """Schedule of the confidence threshold of Eq. 1: pairs of a cycle and the threshold from that cycle on, in order;
    the first pair holds for earlier cycles too. In a file a number, or a mapping of cycles to numbers."""

    emphasis: Mapping[str, Annotated[StrictFloat, Field(gt=0, allow_inf_nan=False)]] = field(default_factory=dict)
    """Factor on 1 - delta_c by class name; 1 for the classes that are not named."""

    background: str | None = None
    """Class that is never sampled, or None."""

    uncertainty: Measure | None = None
    """The measure of uncertainty; None for the learner's own."""

    sampler: InitVar[str | None] = None
    """In a file, the name of one of the paper's samplers in place of the two selectors."""

    def tau_of(self, cycle: int) -> float:
        """The confidence threshold in the selection of a cycle."""
        return [tau for first, tau in self.tau if first <= cycle or first == self.tau[0][0]][-1]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_file(cls, written: Any) -> Any:
        if isinstance(written, str):
            written = {"sampler": written}
        if not isinstance(written, Mapping):
            return written
        fields = {"name": "", **written}
        selectors = [fields.get("images"), fields.get("regions")]
        if fields.get("sampler") is None:
            if None in selectors:
                raise ValueError(f"give a sampler ({', '.join(SAMPLERS)}), or both images and regions")
            return fields
        if selectors != [None, None]:
            raise ValueError("give either sampler, or images and regions, not both")
        # An unknown sampler is refused at its own key, for which a pair of some kind is needed here.
        images, regions = SAMPLERS.get(str(fields["sampler"]), ("random", "random"))
        return {**fields, "images": images, "regions": regions}

    @pydantic.field_validator("sampler")
    @classmethod
    def _check_sampler(cls, sampler: str | None) -> str | None:
        if sampler is not None and sampler not in SAMPLERS:
            raise ValueError(
                f"unknown sampler {sampler!r}{nearest(sampler, SAMPLERS)}; known are {', '.join(SAMPLERS)}, "
                f"or give a pair as {{images: ..., regions: ...}}"
            )
        return sampler

    @pydantic.field_validator("tau", mode="before")
    @classmethod
    def _constant_or_schedule(cls, tau: Any, info: ValidationInfo) -> Any:
        if isinstance(tau, tuple) or info.mode == "json":
            return tau
        schedule = {1: tau} if isinstance(tau, int | float) and not isinstance(tau, bool) else tau
        if not isinstance(schedule, Mapping) or not schedule:
            raise ValueError("give a number, or a schedule like {2: 0.5, 10: 0.7} (from cycle 2 on, from cycle 10 on)")
        for cycle, value in schedule.items():
            if not (isinstance(cycle, int) and cycle >= 1):
                raise ValueError(f"{cycle!r} is no cycle; the keys of a schedule are cycles from 1 on")
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise ValueError("a confidence threshold is at least 0 and less than 1")
        return tuple(sorted(schedule.items()))

    @pydantic.field_validator("uncertainty", mode="before")
    @classmethod
    def _check_measure(cls, measure: Any) -> Any:
        known = {str(name): None for name in Measure}
        if measure is not None and measure not in list(known):
            raise ValueError(f"unknown measure{nearest(str(measure), known)}; known are {', '.join(known)}")
        return measure

    @pydantic.model_validator(mode="after")
    def _check_name(self) -> "Sampler":
        object.__setattr__(self, "name", check_name(self.name or self._default_name()))
        return self

    def _default_name(self) -> str:
        """As the paper calls it, e.g. ``uncert_decomp``: images as UNCERT, regions as DECOMP; then what is special."""
        words = [pair_name(self.images.name, self.regions.name)]
        for selector in (self.images, self.regions):
            words += [f"{key}-{canonical(value)}" for key, value in sorted(selector.options.items())]
        thresholds = [tau for _, tau in self.tau]
        if thresholds != [0.7]:
            words.append("-".join(["tau", *map(str, thresholds)]))
        words += [f"{name}-x{factor:g}" for name, factor in sorted(self.emphasis.items())]
        words += [f"without-{self.background}"] if self.background else []
        words += [self.uncertainty] if self.uncertainty else []
        return re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(words).replace("+", "p"))


RegionShape = tuple[int, ...] | Component
"""Size of a window per axis, or a partition of the image into irregular regions."""


@pydantic_dataclass(frozen=True, config={"extra": "forbid"})
class Budget:
    """Annotation budget of one cycle (Sec. 1)."""

    n_image: Annotated[StrictInt, Field(ge=1)]
    """Images selected per cycle."""

    n_region: Annotated[StrictInt, Field(ge=1)]
    """Regions selected per image."""

    region: RegionShape
    """Shape of a region: pixels per axis, or a partition."""

    @pydantic.field_validator("region", mode="plain")
    @classmethod
    def _window_or_partition(cls, region: Any, info: ValidationInfo) -> RegionShape:
        if isinstance(region, Component):
            return region
        if isinstance(region, Mapping) and info.mode == "json":
            return Component(**region)
        if isinstance(region, str | Mapping):
            return _COMPONENT.validate_python(region)
        is_window = isinstance(region, list | tuple) and all(type(size) is int and size >= 1 for size in region)
        if not is_window or not 1 <= len(region) <= 3:
            raise ValueError("give pixels per axis, like [16, 16], or the name of a partition, like {name: slic, ...}")
        return tuple(region)

    @property
    def label(self) -> str:
        """Short name, e.g. ``10x12-16x16``: images x regions, region size."""
        if isinstance(self.region, Component):
            options = map(canonical, self.region.options.values())
            name = "-".join(map(str, (self.region.name.replace(":", "."), *options))).replace("/", "-")
        else:
            name = "x".join(map(str, self.region))
        return f"{self.n_image}x{self.n_region}-{name}"


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

    cycles: int = 1
    """How many cycles to run; not part of the identity, so a longer experiment goes on where a shorter one stopped."""

    @cached_property
    def first(self) -> "RunSpec":
        """The first cycle that this run shares with all samplers of its seed, fold and budget."""
        return replace(self, kind="first", sampler=None, warm_start=False, cycles=1)

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
    fields = dict(pairs)
    if "identifying" in fields:
        identifying = fields.pop("identifying")
        fields["options"] = fields["options"] if identifying is None else identifying
        if not fields["code"]:
            del fields["code"]
    return fields


def key_of(identity: Mapping[str, Any]) -> str:
    """The key of the run that has this identity; also tells whether a stored identity is intact."""
    return hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=6).hexdigest()
