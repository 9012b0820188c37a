"""Build the data sets, learners and selectors that an experiment file names."""

import hashlib
import importlib
import inspect
import json
import math
import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import pydantic

from decomp.platform.annotation import FORMATS
from decomp.platform.annotation.formats import AnnotationFormat
from decomp.platform.datasets import DATASETS, IGNORE, Dataset
from decomp.platform.errors import UserError, describe, nearest, shown
from decomp.platform.grid import Component, Sampler
from decomp.platform.learners import CHANGED_DEFAULTS, LEARNERS, Learner
from decomp.platform.marks import ByContent, NotIdentity
from decomp.platform.measures import OwnMeasure
from decomp.platform.options import REQUIRED, defaults_of, hints_of, mark_of
from decomp.platform.partitions import PARTITIONS, Partition
from decomp.platform.samplers import IMAGE_SELECTORS, REGION_SELECTORS, ImageSelector, RegionSelector
from decomp.platform.source import code_of
from decomp.platform.values import canonical

T = TypeVar("T")

Place = Literal["dataset", "learner", "images", "regions", "region", "uncertainty", "annotation"]
"""Where an experiment file names a class."""

PLACES: Mapping[Place, tuple[str, Mapping[str, str], type]] = {
    "dataset": ("dataset", DATASETS, Dataset),
    "learner": ("learner", LEARNERS, Learner),
    "images": ("image selector", IMAGE_SELECTORS, ImageSelector),
    "regions": ("region selector", REGION_SELECTORS, RegionSelector),
    "region": ("partition", PARTITIONS, Partition),
    "uncertainty": ("measure", {}, OwnMeasure),
    "annotation": ("annotation format", FORMATS, AnnotationFormat),
}
"""What each place names: its kind, the built-in names, the contract."""


def build_dataset(component: Component) -> Dataset:
    """Make the data set; `UserError` for an unknown name, wrong options (listing all), or wrong classes."""
    dataset = cast(Dataset, _build("dataset", component))
    if not 0 < len(dataset.classes) <= IGNORE:
        raise UserError(
            f"dataset: {component.name} has {len(dataset.classes)} classes, but labels are 0 to {IGNORE - 1}, since "
            f"{IGNORE} means that a pixel is ignored; give 1 to {IGNORE} classes."
        )
    for number, name in enumerate(dataset.classes):
        if not name.strip() or not name.isprintable() or name in dataset.classes[:number]:
            raise UserError(
                f"dataset: {component.name} calls class {number} {name!r}; give each class a name of its own, on one "
                f"line."
            )
    return dataset


def build_learner(component: Component) -> Learner:
    """Make the learner; `UserError` for an unknown name or wrong options (listing all)."""
    return cast(Learner, _build("learner", component))


def stated_learner(component: Component) -> Component:
    """The learner with the options of `CHANGED_DEFAULTS` added where it leaves them out."""
    changed = {LEARNERS[name]: options for name, options in CHANGED_DEFAULTS.items()}
    options = changed.get(LEARNERS.get(component.name, component.name), {})
    return replace(component, options={**options, **component.options})


def build_selectors(sampler: Sampler) -> tuple[ImageSelector, RegionSelector]:
    """Make the pair of selectors; `UserError` for an unknown name or wrong options (listing all)."""
    images, regions = _build("images", sampler.images), _build("regions", sampler.regions)
    return cast(ImageSelector, images), cast(RegionSelector, regions)


def reads_truth(sampler: Sampler) -> bool:
    """Whether the sampler is an oracle baseline, which nobody could run in practice.

    A class of the user's own that is not there, as of runs that somebody else has computed, counts as none.
    """
    try:
        return build_selectors(sampler)[1].reads_truth
    except UserError:
        return False


def told_selections(sampler: Sampler, selections: int) -> Sampler:
    """The sampler, its region selector told how many selections a run has if it asks by an option ``selections``."""
    asks = "selections" in defaults_of(_class_at("regions", sampler.regions))
    if not asks or sampler.regions.options.get("selections") is not None:
        return sampler
    return replace(sampler, regions=sampler.regions.with_options({"selections": max(1, selections)}))


def build_measure(component: Component) -> OwnMeasure:
    """Make a measure of the user's own, for one image; `UserError` for an unknown name or wrong options."""
    return cast(OwnMeasure, _build("uncertainty", component))


def build_partition(component: Component) -> Partition:
    """Make the partition; `UserError` for an unknown name or wrong options (listing all)."""
    return cast(Partition, _build("region", component))


def build_format(component: Component) -> AnnotationFormat:
    """Make the annotation format; `UserError` for an unknown name or wrong options (listing all)."""
    return cast(AnnotationFormat, _build("annotation", component))


def identified(place: Place, component: Component, *, as_written: bool = False) -> Component:
    """The component with what identifies it: digests of the user's own code and of files, options in canonical form.

    Called by the driver, when it plans.

    Args:
        place: where the file names it.
        component: a component that can be built.
        as_written: whether options that change no result count as well, and all options as they are written, as they
            did before there was a canonical form.
    """
    _, known, _ = PLACES[place]
    cls = _class_at(place, component)
    hints, identifying = hints_of(cls), {}
    for name, value in _options(place, component, cls).items():
        mark = mark_of(hints.get(name))
        if isinstance(mark, ByContent):
            identifying[name] = None if value is None else _digest(f"{place}.{name}", Path(value).expanduser())
        elif as_written:
            identifying[name] = component.options[name]
        elif not isinstance(mark, NotIdentity):
            identifying[name] = _canonical(value, component.options[name])
        elif mark.stand_in is not None:
            identifying[name] = mark.stand_in
    module, _, attribute = component.name.partition(":")
    is_own = component.name not in known and module.partition(".")[0] != "decomp"
    return replace(component, code=code_of(module, attribute) if is_own else "", identifying=identifying)


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
    if not module_name:
        raise UserError(f"The {kind} {name!r} has no module before the colon; write it as 'module:attribute'.")
    try:
        cls = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"Cannot import {kind} {name!r}: {error}; is its module installed or on PYTHONPATH?") from error
    except (Exception, SystemExit) as error:
        raise UserError(f"Cannot import {kind} {name!r}: {_told(error)}; mend its module.") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise UserError(f"The {kind} {name!r} is no subclass of {base.__module__}.{base.__name__}; make it one.")
    return cls


def _class_at(place: Place, component: Component) -> type:
    kind, known, contract = PLACES[place]
    return resolve(kind, component.name, known, contract)


def _build(place: Place, component: Component) -> Any:
    cls = _class_at(place, component)
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(getattr(cls, "__abstractmethods__", ())))
        raise UserError(f"{place}: {component.name} is no complete class; it lacks {missing}.")
    options = _options(place, component, cls)
    try:
        return cls(**options)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{place}: {component.name} cannot be made: {_told(error)}.") from error


def _options(place: Place, component: Component, cls: type) -> dict[str, Any]:
    """The options, converted to the types of their annotations; `UserError` lists all that are wrong or missing."""
    try:
        hints, defaults = hints_of(cls), defaults_of(cls)
        adapters = {name: _adapter(hints.get(name, Any)) for name in defaults if name in component.options}
    except Exception as error:
        raise UserError(f"{place}: the options of {component.name} cannot be read: {_told(error)}.") from error
    options: dict[str, Any] = {}
    problems = []
    for name, value in component.options.items():
        if name not in defaults:
            problems.append(
                f"{place}.{name}: {component.name} has no such option{nearest(name, defaults)}; "
                f"its options are {', '.join(defaults) or 'none'}."
            )
            continue
        try:
            options[name] = adapters[name].validate_python(value)
        except pydantic.ValidationError as error:
            problem = error.errors()[0]
            position = "".join(f"[{part}]" for part in problem["loc"] if isinstance(part, int))
            problems.append(f"{place}.{name}{position}: {describe(problem)}, got {shown(problem['input'])}.")
        except Exception as error:
            problems.append(f"{place}.{name}: cannot be checked: {_told(error)}.")
    problems += [
        f"{place}: {component.name} needs the option {name!r}; add it under {place!r}."
        for name, default in defaults.items()
        if default is REQUIRED and name not in component.options
    ]
    if problems:
        raise UserError("\n".join(problems))
    return options


def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:
    """Numbers must be finite unless the annotation allows others, and are valid as text; a model has its own rules."""
    if hint is Any:
        return pydantic.TypeAdapter(Annotated[Any, pydantic.AfterValidator(_finite)])
    try:
        return pydantic.TypeAdapter(hint, config={"allow_inf_nan": False, "coerce_numbers_to_str": True})
    except pydantic.PydanticUserError:
        return pydantic.TypeAdapter(hint)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("input should be a finite number")
    return value


def _canonical(value: Any, written: Any) -> Any:
    """The canonical form of a value or, if JSON cannot hold the value, of what is written."""
    form = canonical(value)
    try:
        json.dumps(form)
    except (TypeError, ValueError):
        return canonical(written)
    return form


def _digest(key: str, file: Path) -> str:
    try:
        state = file.stat()
        return _digest_of(file, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise UserError(f"{key}: {file} cannot be read: {error.strerror}.") from error


@cache
def _digest_of(file: Path, size: int, modified: int) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _told(error: BaseException) -> str:
    """An error of the user's own code, with the place where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}{where}"
