"""What the grid of an experiment is made of: components, samplers, budgets, and the start that they share.

Each type says what an experiment file may leave out or shorten; in a run's identity, which is JSON, everything is
written out.
"""

import re
from collections.abc import Mapping
from dataclasses import InitVar, field, replace
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, StrictFloat, StrictInt, ValidationInfo
from pydantic.dataclasses import dataclass as pydantic_dataclass

from decomp.platform.errors import nearest
from decomp.platform.names import RIVALS, SAMPLERS, check_name, pair_name
from decomp.platform.predictions import Measure
from decomp.platform.schedule import value_at
from decomp.platform.values import canonical


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

    tau_quantile: Annotated[StrictFloat, Field(gt=0, lt=1)] | None = field(default=None, kw_only=True)
    """This project's own variation: the threshold of Eq. 1 is this quantile of the confidences of all unannotated
    pixels of the candidates, and so follows the model from cycle to cycle; None for `tau`."""

    reselect_below: Annotated[StrictFloat, Field(gt=0, le=1)] | None = field(default=None, kw_only=True)
    """This project's own variation: an annotated region is offered again, as a whole, while the mean confidence of its
    pixels (its ROI) is below this; None for never, as in the paper."""

    emphasis: Mapping[str, Annotated[StrictFloat, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]] = field(
        default_factory=dict
    )
    """Factor on 1 - delta_c by class name, of a millionth to a million; 1 for the classes that are not named."""

    background: str | None = None
    """Class that is never sampled, or None."""

    uncertainty: Measure | Component | None = None
    """The measure of uncertainty, or ``module:Class`` of the user's own; None for the learner's."""

    sampler: InitVar[str | None] = None
    """In a file, the name of a sampler in place of its selectors and, where it has one, its measure of uncertainty."""

    def tau_of(self, cycle: int) -> float:
        """The confidence threshold in the selection of a cycle."""
        return value_at(dict(self.tau), cycle)

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
                raise ValueError(f"give a sampler ({', '.join((*SAMPLERS, *RIVALS))}), or both images and regions")
            return fields
        if selectors != [None, None]:
            raise ValueError("give either sampler, or images and regions, not both")
        if fields["sampler"] in RIVALS:
            return {**RIVALS[fields["sampler"]], **fields}
        # An unknown sampler is refused at its own key, for which a pair of some kind is needed here.
        images, regions = SAMPLERS.get(str(fields["sampler"]), ("random", "random"))
        return {**fields, "images": images, "regions": regions}

    @pydantic.field_validator("sampler")
    @classmethod
    def _check_sampler(cls, sampler: str | None) -> str | None:
        known = dict.fromkeys((*SAMPLERS, *RIVALS))
        if sampler is not None and sampler not in known:
            raise ValueError(
                f"unknown sampler {sampler!r}{nearest(sampler, known)}; known are {', '.join(known)}, "
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
    def _measure_or_own(cls, measure: Any) -> Any:
        known = {str(name): None for name in Measure}
        if measure is None or isinstance(measure, Measure | Component):
            return measure
        if isinstance(measure, Mapping) and "name" in measure:  # of a run's identity
            return Component(**measure)
        if isinstance(measure, str) and ":" in measure:
            return Component(measure)
        if measure not in list(known):
            raise ValueError(
                f"unknown measure{nearest(str(measure), known)}; known are {', '.join(known)}, or give a class of your "
                f"own as 'module:Class'"
            )
        return Measure(measure)

    def __post_init__(self, sampler: str | None) -> None:
        object.__setattr__(self, "name", check_name(self.name or self._default_name(sampler)))

    def _default_name(self, sampler: str | None) -> str:
        """As the paper calls it, e.g. ``uncert_decomp``: images as UNCERT, regions as DECOMP; then what is special."""
        rival = RIVALS.get(sampler or "")
        words = [pair_name(self.images.name, self.regions.name) if rival is None else str(sampler)]
        for selector in (self.images, self.regions) if rival is None else ():
            words += [f"{key}-{canonical(value)}" for key, value in sorted(selector.options.items())]
        thresholds = [tau for _, tau in self.tau]
        if self.tau_quantile is not None:
            words.append(f"tau-quantile-{self.tau_quantile:g}")
        elif thresholds != [0.7]:
            words.append("-".join(["tau", *map(str, thresholds)]))
        words += [] if self.reselect_below is None else [f"reselect-below-{self.reselect_below:g}"]
        words += [f"{name}-x{factor:g}" for name, factor in sorted(self.emphasis.items())]
        words += [f"without-{self.background}"] if self.background else []
        if self.uncertainty and self.uncertainty != (rival or {}).get("uncertainty"):
            words.append(self.uncertainty.name if isinstance(self.uncertainty, Component) else self.uncertainty)
        return re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(words).replace("+", "p"))


RegionShape = tuple[int, ...] | Component
"""Size of a window per axis, or a partition of the image into irregular regions."""


@pydantic_dataclass(frozen=True, config={"extra": "forbid"})
class Budget:
    """Annotation budget of one cycle: regions in each of some images (Sec. 1), or of the whole pool (Sec. 12)."""

    n_image: Annotated[StrictInt, Field(ge=1)] | None
    """Images selected per cycle; null with a `total`."""

    n_region: Annotated[StrictInt, Field(ge=1)]
    """Regions selected per image; with a `total`, the most that an image gives."""

    region: RegionShape
    """Shape of a region: pixels per axis, or a partition."""

    total: Annotated[StrictInt, Field(ge=1)] | None = field(default=None, kw_only=True)
    """Regions selected per cycle in the whole pool, in place of `n_image`; for samplers with ``images: all``."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _of_images_or_pool(cls, written: Any) -> Any:
        if not isinstance(written, Mapping) or written.get("total") is None:
            return written
        if written.get("n_image") is not None:
            raise ValueError("give either n_image or total, not both")
        return {"n_image": None, **written}

    @pydantic.model_validator(mode="after")
    def _has_either(self) -> "Budget":
        if (self.n_image is None) == (self.total is None):
            raise ValueError("give n_image, the images of a cycle, or total, the regions of a cycle in the whole pool")
        return self

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
        if self.total is not None:
            return f"{self.total}-of-pool-{self.n_region}-{name}"
        return f"{self.n_image}x{self.n_region}-{name}"

    @property
    def regions(self) -> int:
        """Regions of a cycle, unless the pool has fewer."""
        return self.total if self.total is not None else (self.n_image or 1) * self.n_region

    @property
    def third(self) -> "Budget":
        """The budget of a validation split that is annotated too: a third, at least one."""
        if self.total is not None:
            return replace(self, total=max(1, self.total // 3))
        return replace(self, n_image=max(1, (self.n_image or 1) // 3))


@pydantic_dataclass(frozen=True, config={"extra": "forbid"})
class Start:
    """The first cycle, which all samplers of a seed share (Sec. 14); in a file, its choice alone will do."""

    choice: Literal["random", "all-classes"] = "random"
    """``random``, or ``all-classes``: random, but at least two regions of every class, the rarest first. The latter
    reads the truth."""

    budget: Budget | None = None
    """What is annotated; that of the experiment's first budget by default."""

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_file(cls, written: Any) -> Any:
        return {"choice": written} if isinstance(written, str) else written
