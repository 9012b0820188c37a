"""Build the data sets, learners and selectors that an experiment file names."""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar, get_type_hints

import pydantic

from decomp.platform.datasets import DATASETS, Dataset
from decomp.platform.errors import UserError, nearest
from decomp.platform.learners import LEARNERS, Learner
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, ImageSelector, RegionSelector
from decomp.platform.spec import Component, SamplerSpec

T = TypeVar("T")


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


def resolve(kind: str, name: str, known: Mapping[str, str], base: type[T]) -> type[T]:
    """Find a class by its registered name or by ``module:attribute``.

    Args:
        kind: what the name stands for, for messages, e.g. ``"learner"``.
        name: the name in the experiment file.
        known: registered names and the ``module:attribute`` of each, imported only when used.
        base: the contract that the class must fulfil.

    Raises:
        UserError: if there is no such class or it does not subclass `base`.
    """
    target = known.get(name, name)
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise UserError(
            f"Unknown {kind} {name!r}{nearest(name, known)}; known are {', '.join(known)}, "
            f"or give your own class as 'module:attribute'."
        )
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"Cannot import {kind} {name!r}: {error}; is its module installed or on PYTHONPATH?") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise UserError(f"The {kind} {name!r} is no subclass of {base.__module__}.{base.__name__}; make it one.")
    return found


def _build(kind: str, component: Component, cls: type[T]) -> T:
    hints = get_type_hints(cls.__init__ if not dataclasses.is_dataclass(cls) else cls, include_extras=True)
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
