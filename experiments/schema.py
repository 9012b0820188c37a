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
from decomp.platform.registry import UserError, nearest
from decomp.platform.samplers import SAMPLERS
from decomp.platform.spec import Budget, Component, SamplerSpec

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names become folders and MLflow names."""


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
    """A sampler: one of the paper's by name, or a pair of selectors."""

    name: str
    images: str
    regions: str
    tau: float = pydantic.Field(0.7, ge=0.0, lt=1.0)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            if value not in SAMPLERS:
                raise ValueError(
                    f"unknown sampler {value!r}{nearest(value, SAMPLERS)}; known are {', '.join(SAMPLERS)}, "
                    f"or give a pair as {{name: ..., images: ..., regions: ...}}"
                )
            images, regions = SAMPLERS[value]
            return {"name": value, "images": images, "regions": regions}
        return value

    @pydantic.field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _named(name)

    def spec(self) -> SamplerSpec:
        """What the platform calls a sampler."""
        return SamplerSpec(self.name, self.images, self.regions, self.tau)


class BudgetEntry(_Entry):
    """Budget of a cycle and the number of cycles."""

    n_image: int = pydantic.Field(ge=1)
    n_region: int = pydantic.Field(ge=1)
    region: list[pydantic.PositiveInt] = pydantic.Field(min_length=2, max_length=2)
    cycles: int = pydantic.Field(ge=1)

    def spec(self) -> Budget:
        """What the platform calls a budget."""
        return Budget(self.n_image, self.n_region, tuple(self.region))


class ResourcesEntry(_Entry):
    """What one run occupies; see `decomp.actors.resources.Resources`."""

    workers: int = pydantic.Field(1, ge=1)
    cpus: float = pydantic.Field(1.0, gt=0)
    gpus: float = pydantic.Field(0.0, ge=0)
    runs_at_once: int | None = pydantic.Field(None, ge=1)

    def spec(self) -> Resources:
        """What the actors call resources."""
        return Resources(self.workers, self.cpus, self.gpus, self.runs_at_once)


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
        storage: folder for all results.
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
    def _local_storage(cls, storage: str) -> str:
        if "://" in storage:
            raise ValueError("give a folder that all nodes see; object stores are not supported")
        return storage

    @pydantic.model_validator(mode="after")
    def _no_duplicates(self) -> "Experiment":
        _distinct("samplers", [sampler.name for sampler in self.samplers])
        _distinct("budgets", [budget.spec().label for budget in self.budgets])
        _distinct("seeds", self.seeds)
        _distinct("folds", self.folds or [])
        return self

    @property
    def root(self) -> Path:
        """Absolute folder of the experiment's results."""
        return Path(self.storage).expanduser().absolute() / self.name


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment file.

    Args:
        file: the YAML file.
        overrides: ``key=value`` strings; nested keys with dots, lists in brackets.

    Raises:
        UserError: with one line per mistake.
    """
    try:
        config = OmegaConf.load(file)
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"{file}: is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, omegaconf.DictConfig):
        raise UserError(f"{file}: an experiment is a mapping of keys to values; see the examples in experiments/.")
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
    }
    model = entries[str(location[0])] if location else Experiment
    return dict(model.model_fields)


def _distinct(key: str, values: Sequence[Any]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{key}: {twice[0]!r} is given twice; give each one once")
