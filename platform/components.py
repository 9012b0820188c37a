"""Build the data sets, learners and selectors that an experiment file names."""

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

import pydantic

from decomp.platform.datasets import DATASETS, IGNORE, Dataset
from decomp.platform.errors import UserError, describe, nearest
from decomp.platform.learners import LEARNERS, Learner
from decomp.platform.options import REQUIRED, defaults_of, hints_of
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, ImageSelector, RegionSelector
from decomp.platform.spec import Component, Sampler

T = TypeVar("T")


def build_dataset(component: Component) -> Dataset:
    """Make the data set; `UserError` for an unknown name, wrong options, all of them, or a wrong number of classes."""
    # mypy wants concrete classes here, but the contract is what is asked for.
    dataset = _build("dataset", component, resolve("dataset", component.name, DATASETS, Dataset))  # type: ignore[type-abstract]
    if not 0 < len(dataset.classes) <= IGNORE:
        raise UserError(
            f"dataset: {component.name} has {len(dataset.classes)} classes, but labels are 0 to {IGNORE - 1}, since "
            f"{IGNORE} means that a pixel is ignored; give 1 to {IGNORE} classes."
        )
    return dataset


def build_learner(component: Component) -> Learner:
    """Make the learner; `UserError` for an unknown name or wrong options, all of them."""
    return _build("learner", component, resolve("learner", component.name, LEARNERS, Learner))  # type: ignore[type-abstract]


def build_selectors(sampler: Sampler) -> tuple[ImageSelector, RegionSelector]:
    """Make the pair of selectors; `UserError` for an unknown name or wrong options, all of them."""
    images = resolve("image selector", sampler.images.name, IMAGE_SELECTORS, ImageSelector)  # type: ignore[type-abstract]
    regions = resolve("region selector", sampler.regions.name, REGION_SELECTORS, RegionSelector)  # type: ignore[type-abstract]
    return _build("images", sampler.images, images), _build("regions", sampler.regions, regions)


def build_partition(component: Component) -> Partition:
    """Make the partition; `UserError` for an unknown name or wrong options, all of them."""
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
        cls = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise UserError(f"Cannot import {kind} {name!r}: {error}; is its module installed or on PYTHONPATH?") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"The {kind} {name!r} is no subclass of {base.__module__}.{base.__name__}; make it one.")
    return cls


def _build(kind: str, component: Component, cls: type[T]) -> T:
    hints, defaults = hints_of(cls), defaults_of(cls)
    options: dict[str, Any] = {}
    problems = []
    for name, value in component.options.items():
        if name not in defaults:
            problems.append(
                f"{kind}.{name}: {component.name} has no such option{nearest(name, defaults)}; "
                f"its options are {', '.join(defaults) or 'none'}."
            )
            continue
        try:
            options[name] = pydantic.TypeAdapter(hints.get(name, Any)).validate_python(value)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            place = "".join(f"[{part}]" for part in problem["loc"] if isinstance(part, int))
            problems.append(f"{kind}.{name}{place}: {describe(problem)}, got {problem['input']!r}.")
    problems += [
        f"{kind}: {component.name} needs the option {name!r}; add it under {kind!r}."
        for name, default in defaults.items()
        if default is REQUIRED and name not in component.options
    ]
    if problems:
        raise UserError("\n".join(problems))
    return cls(**options)
