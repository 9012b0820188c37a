"""The experiment file: YAML with command-line overrides, validated into one typed object.

Every message names the file and the key; all mistakes of a file are reported at once.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import omegaconf
import pydantic
import yaml
from omegaconf import OmegaConf

from decomp.actors.resources import Resources
from decomp.experiments.report.axes import AnnotationSeconds
from decomp.platform.errors import UserError, nearest
from decomp.platform.predictions import Measure
from decomp.platform.samplers import SAMPLERS
from decomp.platform.spec import Budget, Component, RegionShape, SamplerSpec
from decomp.platform.storage.location import Location, parse_location

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names become folders and MLflow names."""

LEAST = 0.0001
"""Least part of a core or GPU that Ray counts."""


def _named(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError("use letters, digits, '.', '_' and '-' only, beginning with a letter or digit")
    return name


class _Entry(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True)


class ComponentEntry(_Entry):
    """A data set or a learner: its name, or ``module:attribute``, and its options."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, frozen=True)

    name: str

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def component(self, overrides: Mapping[str, Any] | None = None) -> Component:
        """The component, with some options replaced."""
        return Component(self.name, {**(self.model_extra or {}), **(overrides or {})})


class SamplerEntry(_Entry):
    """A sampler: one of the paper's by name, or a pair of selectors; and what it reads of the predictions."""

    sampler: str | None = None
    name: str = ""
    images: ComponentEntry | None = None
    regions: ComponentEntry | None = None
    tau: dict[int, float] = pydantic.Field(default_factory=lambda: {1: 0.7})
    emphasis: dict[str, pydantic.PositiveFloat] = pydantic.Field(default_factory=dict)
    background: str | None = None
    uncertainty: str | None = None

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        return {"sampler": value} if isinstance(value, str) else value

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
    def _constant_or_schedule(cls, tau: Any) -> Any:
        schedule = {1: tau} if isinstance(tau, int | float) and not isinstance(tau, bool) else tau
        if not isinstance(schedule, Mapping) or not schedule:
            raise ValueError("give a number, or a schedule like {2: 0.5, 10: 0.7} (from cycle 2 on, from cycle 10 on)")
        for cycle, value in schedule.items():
            if not (isinstance(cycle, int) and cycle >= 1):
                raise ValueError(f"{cycle!r} is no cycle; the keys of a schedule are cycles from 1 on")
            if not (isinstance(value, int | float) and 0 <= value < 1):
                raise ValueError("a confidence threshold is at least 0 and less than 1")
        return schedule

    @pydantic.field_validator("uncertainty")
    @classmethod
    def _check_measure(cls, measure: str | None) -> str | None:
        known = {str(name): None for name in Measure}
        if measure is not None and measure not in known:
            raise ValueError(f"unknown measure{nearest(measure, known)}; known are {', '.join(known)}")
        return measure

    @pydantic.model_validator(mode="after")
    def _check_pair(self) -> "SamplerEntry":
        pair = [self.images, self.regions]
        if self.sampler is None and None in pair:
            raise ValueError(f"give a sampler ({', '.join(SAMPLERS)}), or both images and regions")
        if self.sampler is not None and pair != [None, None]:
            raise ValueError("give either sampler, or images and regions, not both")
        _named(self.spec().name)
        return self

    def spec(self) -> SamplerSpec:
        """What the platform calls a sampler."""
        if self.sampler is not None:
            images, regions = (Component(name) for name in SAMPLERS[self.sampler])
        else:
            assert self.images is not None
            assert self.regions is not None
            images, regions = self.images.component(), self.regions.component()
        return SamplerSpec(
            self.name or self._default_name(images, regions),
            images,
            regions,
            tuple(sorted((cycle, float(tau)) for cycle, tau in self.tau.items())),
            {name: float(factor) for name, factor in sorted(self.emphasis.items())},
            self.background,
            self.uncertainty,
        )

    def _default_name(self, images: Component, regions: Component) -> str:
        """As the paper calls it, e.g. ``uncert_decomp``: images as UNCERT, regions as DECOMP; then what is special."""
        parts = [pair_name(images.name, regions.name)]
        parts += [f"{key}-{value}" for part in (images, regions) for key, value in sorted(part.options.items())]
        if list(self.tau.values()) != [0.7]:
            parts.append("-".join(["tau", *(str(tau) for _, tau in sorted(self.tau.items()))]))
        parts += [f"{name}-x{factor:g}" for name, factor in sorted(self.emphasis.items())]
        parts += [f"without-{self.background}"] if self.background else []
        parts += [self.uncertainty] if self.uncertainty else []
        return re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(parts).replace("+", "p"))


def pair_name(images: str, regions: str) -> str:
    """Name of a pair of selectors: the sampler's own if it is one of the paper's, else e.g. ``uncert_decomp``."""
    for name, pair in SAMPLERS.items():
        if pair == (images, regions):
            return name
    by_image = {pair[0]: name for name, pair in SAMPLERS.items() if name in ("rand", "uncert", "decomp")}
    by_region = {pair[1]: name for name, pair in SAMPLERS.items()}
    return f"{by_image.get(images, images)}_{by_region.get(regions, regions)}"


class BudgetEntry(_Entry):
    """Budget of a cycle and the number of cycles."""

    n_image: int = pydantic.Field(ge=1)
    n_region: int = pydantic.Field(ge=1)
    region: Any
    cycles: int = pydantic.Field(ge=1)

    @pydantic.field_validator("region")
    @classmethod
    def _check_region(cls, region: Any) -> RegionShape:
        if isinstance(region, str | Mapping):
            return ComponentEntry.model_validate(region).component()
        whole = isinstance(region, list) and all(type(extent) is int and extent >= 1 for extent in region)
        if not whole or not 1 <= len(region) <= 3:
            raise ValueError("give pixels per axis, like [16, 16], or the name of a partition, like {name: slic, ...}")
        return tuple(region)

    def spec(self) -> Budget:
        """What the platform calls a budget."""
        return Budget(self.n_image, self.n_region, self.region)


class ResourcesEntry(_Entry):
    """What one run occupies, see `decomp.actors.resources.Resources`, and for estimates how long it takes."""

    workers: int = pydantic.Field(1, ge=1)
    training_workers: int = pydantic.Field(1, ge=1)
    cpus: float = pydantic.Field(1.0, ge=LEAST, allow_inf_nan=False)
    gpus: float = pydantic.Field(0.0, ge=0, allow_inf_nan=False)
    runs_at_once: int | None = pydantic.Field(None, ge=1)
    autoscaling: bool = False
    seconds_per_epoch: float | None = pydantic.Field(None, gt=0)

    def spec(self) -> Resources:
        """What the actors call resources."""
        return Resources(self.workers, self.training_workers, self.cpus, self.gpus, self.runs_at_once, self.autoscaling)

    @pydantic.model_validator(mode="after")
    def _bounded(self) -> "ResourcesEntry":
        if self.autoscaling and self.runs_at_once is None:
            raise ValueError("resources.autoscaling: say with resources.runs_at_once how far the cluster may grow")
        return self

    @pydantic.field_validator("gpus")
    @classmethod
    def _divisible(cls, gpus: float) -> float:
        if 0 < gpus < LEAST or (gpus > 1 and not gpus.is_integer()):
            raise ValueError(f"give 0, a fraction of a single GPU from {LEAST} on, or a whole number of GPUs")
        return gpus

    @pydantic.model_validator(mode="after")
    def _can_train_together(self) -> "ResourcesEntry":
        if self.training_workers > self.workers:
            raise ValueError(
                f"resources.training_workers: {self.training_workers} of a run's workers cannot train together, since "
                f"it has {self.workers}; lower it or raise resources.workers"
            )
        if self.training_workers > 1 and 0 < self.gpus < 1:
            raise ValueError(
                "resources.training_workers: workers that train together need a GPU each; set resources.gpus to 1 "
                "(or 0 for none), or resources.training_workers to 1"
            )
        return self


class AnnotationSecondsEntry(_Entry):
    """Seconds that an expert's actions are assumed to take, see `decomp.experiments.report.axes.AnnotationSeconds`."""

    image: float = pydantic.Field(AnnotationSeconds.image, ge=0, allow_inf_nan=False)
    region: float = pydantic.Field(AnnotationSeconds.region, ge=0, allow_inf_nan=False)
    click: float = pydantic.Field(AnnotationSeconds.click, ge=0, allow_inf_nan=False)

    def spec(self) -> AnnotationSeconds:
        """What reports call it."""
        return AnnotationSeconds(self.image, self.region, self.click)


class Experiment(_Entry):
    """A grid of runs: samplers x budgets x seeds x folds.

    Attributes:
        name: name of the experiment, of its folder and of its MLflow experiment.
        dataset: the data set.
        learner: the learner.
        samplers: the samplers to compare.
        budgets: the budgets to compare them under.
        seeds: seeds of the repeats; a number n in the file stands for 0 ... n-1.
        folds: cross-validation folds; all of the data set's by default.
        warm_start: whether a cycle starts from the weights of the one before.
        reference: learner options that differ in the full-annotation reference; null for no reference.
        resources: what one run occupies.
        storage: folder for all results, the same on all nodes, or ``s3://bucket/prefix``.
        annotation_seconds: what an expert's time is reckoned from in reports; no part of a run's identity.
    """

    name: str
    dataset: ComponentEntry
    learner: ComponentEntry
    samplers: list[SamplerEntry] = pydantic.Field(min_length=1)
    budgets: list[BudgetEntry] = pydantic.Field(min_length=1)
    seeds: list[pydantic.NonNegativeInt] = pydantic.Field(min_length=1)
    folds: list[pydantic.NonNegativeInt] | None = None
    warm_start: bool = False
    reference: dict[str, Any] | None = pydantic.Field(default_factory=dict)
    resources: ResourcesEntry = pydantic.Field(default_factory=lambda: ResourcesEntry())
    storage: str = "runs"
    annotation_seconds: AnnotationSecondsEntry = pydantic.Field(default_factory=lambda: AnnotationSecondsEntry())

    @pydantic.field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _named(name)

    @pydantic.field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        return list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value

    @pydantic.field_validator("storage")
    @classmethod
    def _check_storage(cls, storage: str) -> str:
        if "://" in storage and not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?", storage):
            raise ValueError("give a folder that all nodes see, or s3://bucket/prefix")
        return storage

    @pydantic.model_validator(mode="after")
    def _no_duplicates(self) -> "Experiment":
        _distinct("samplers", [sampler.spec().name for sampler in self.samplers])
        _distinct("budgets", [budget.spec().label for budget in self.budgets])
        _distinct("seeds", self.seeds)
        _distinct("folds", self.folds or [])
        return self

    @property
    def root(self) -> Location:
        """Where the experiment's results lie."""
        return parse_location(self.storage) / self.name

    @property
    def folder(self) -> Path:
        """Folder of this machine for reports, beside MLflow's default store: `root`, or one in ``runs``."""
        return self.root if isinstance(self.root, Path) else Path("runs").absolute() / self.name


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment file.

    A file may name another one that it `extends`, whose top-level keys it inherits unless it gives them itself.

    Args:
        file: the YAML file.
        overrides: ``key=value`` strings; nested keys with dots, lists in brackets.

    Raises:
        UserError: with one line per mistake.
    """
    config = _read(file)
    for key in ("dataset", "learner"):
        if isinstance(config.get(key), str):  # the short form, which overrides of options need written out
            config[key] = {"name": config[key]}
    try:
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals:
                raise UserError(f"{override!r}: an override is written key=value, e.g. seeds=10.")
            # Replaces rather than merges: `learner={name: mine}` must not inherit another learner's options.
            OmegaConf.update(config, key, yaml.safe_load(value), merge=False, force_add=True)
        return Experiment.model_validate(OmegaConf.to_container(config, resolve=True))
    except (omegaconf.errors.OmegaConfBaseException, yaml.YAMLError) as error:
        raise UserError(f"{file}: {' '.join(str(error).split())}") from error
    except pydantic.ValidationError as error:
        raise UserError("\n".join(f"{file}: {_sentence(problem)}" for problem in error.errors())) from error


def _read(file: Path, readers: tuple[Path, ...] = ()) -> omegaconf.DictConfig:
    """The file's keys, and of the file that it extends those that it does not give itself."""
    try:
        config = OmegaConf.load(file)
    except FileNotFoundError:
        by = f"; {readers[-1]} extends it" if readers else ""
        raise UserError(f"{file}: there is no such file{by}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{file}: is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, omegaconf.DictConfig):
        raise UserError(f"{file}: an experiment is a mapping of keys to values; see the examples in experiments/.")
    extended = config.pop("extends", None)
    if extended is None:
        return config
    if not isinstance(extended, str):
        raise UserError(f"{file}: extends: give the path of an experiment file, relative to this one.")
    if file.resolve() in readers:
        raise UserError(f"{file}: extends itself; remove one of the 'extends'.")
    base = _read(file.parent / extended, (*readers, file.resolve()))
    for key in config:
        base[key] = config[key]
    return base


def _sentence(problem: Any) -> str:
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        known = _fields_at(problem["loc"][:-1])
        return f"unknown key {key!r}{nearest(str(problem['loc'][-1]), known)}; keys here are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"the key {key!r} is missing; add it."
    message = problem["msg"].removeprefix("Value error, ")
    given = "" if problem["type"] == "value_error" and not key else f", got {problem['input']!r}"
    return f"{key + ': ' if key else ''}{message[0].lower() + message[1:]}{given}."


def _fields_at(location: Sequence[Any]) -> dict[str, Any]:
    entries: dict[str, type[_Entry]] = {
        "samplers": SamplerEntry,
        "budgets": BudgetEntry,
        "resources": ResourcesEntry,
        "annotation_seconds": AnnotationSecondsEntry,
    }
    model = entries[str(location[0])] if location else Experiment
    return dict(model.model_fields)


def _distinct(key: str, values: Sequence[Any]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{key}: {twice[0]!r} is given twice; give each one once")
