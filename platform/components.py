"""Build the data sets, learners and selectors that an experiment file names."""

import dataclasses
import inspect
from typing import Any, get_type_hints

import pydantic

from decomp.platform.datasets import DATASETS, Dataset
from decomp.platform.learners import LEARNERS, Learner
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.registry import T, UserError, nearest, resolve
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, ImageSelector, RegionSelector
from decomp.platform.spec import Component, SamplerSpec


def build_dataset(component: Component) -> Dataset:
    """Make the data set; `UserError` for an unknown name or a wrong option."""
    # mypy wants concrete classes here, but the contract is what is asked for.
    return _build("dataset", component, resolve("dataset", component.name, DATASETS, Dataset))  # type: ignore[type-abstract]


def build_learner(component: Component) -> Learner:
    """Make the learner; `UserError` for an unknown name or a wrong option."""
    return _build("learner", component, resolve("learner", component.name, LEARNERS, Learner))  # type: ignore[type-abstract]


def build_selectors(sampler: SamplerSpec) -> tuple[ImageSelector, RegionSelector]:
    """Make the pair of selectors; `UserError` for an unknown name or a wrong option."""
    images = resolve("image selector", sampler.images.name, IMAGE_SELECTORS, ImageSelector)  # type: ignore[type-abstract]
    regions = resolve("region selector", sampler.regions.name, REGION_SELECTORS, RegionSelector)  # type: ignore[type-abstract]
    return _build("images", sampler.images, images), _build("regions", sampler.regions, regions)


def build_partition(component: Component) -> Partition:
    """Make the partition; `UserError` for an unknown name or a wrong option."""
    return _build("region", component, resolve("partition", component.name, PARTITIONS, Partition))  # type: ignore[type-abstract]


def _build(kind: str, component: Component, cls: type[T]) -> T:
    hints = get_type_hints(cls.__init__) if not dataclasses.is_dataclass(cls) else get_type_hints(cls)
    parameters = [name for name in inspect.signature(cls).parameters if name not in ("args", "kwargs")]
    options: dict[str, Any] = {}
    for name, value in component.options.items():
        if name not in parameters:
            raise UserError(
                f"{kind}.{name}: {component.name} has no such option{nearest(name, dict.fromkeys(parameters))}; "
                f"its options are {', '.join(parameters) or 'none'}."
            )
        try:
            options[name] = pydantic.TypeAdapter(hints.get(name, Any)).validate_python(value)
        except pydantic.ValidationError as error:
            raise UserError(f"{kind}.{name}: {error.errors()[0]['msg']}, got {value!r}.") from error
    missing = [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if name in parameters and parameter.default is parameter.empty and name not in options
    ]
    if missing:
        raise UserError(f"{kind}: {component.name} needs the option {missing[0]!r}; add it under {kind!r}.")
    return cls(**options)
