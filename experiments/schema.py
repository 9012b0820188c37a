"""The experiment file: YAML with command-line overrides, validated into one typed object.

Every message names the file and the key; all mistakes of a file are reported at once.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import pydantic
from pydantic import AfterValidator, Field, NonNegativeInt, StrictFloat, StrictInt, ValidationInfo
from pydantic.dataclasses import dataclass

from decomp.actors.resources import Resources
from decomp.experiments.windows import has_lengths, window_of
from decomp.experiments.written import interpolated, mistakes_of, override, read_file
from decomp.platform.errors import UserError, describe, nearest, printable, shown
from decomp.platform.grid import Budget, Component, RegionShape, Sampler, Start
from decomp.platform.names import check_name
from decomp.platform.passes import Passes
from decomp.platform.storage import records
from decomp.platform.storage.address import parse_location
from decomp.platform.storage.location import Location


@dataclass(frozen=True, config={"extra": "forbid"})
class BudgetOfCycles(Budget):
    """The budget of a cycle and the number of cycles."""

    cycles: Annotated[StrictInt, Field(ge=1, le=100_000)]
    """Cycles of a run; not part of its identity, so a longer experiment goes on where it stopped."""

    @pydantic.field_validator("region", mode="plain")
    @classmethod
    def _window_or_partition(cls, region: Any, info: ValidationInfo) -> RegionShape:
        return window_of(region) if has_lengths(region) else super()._window_or_partition(region, info)

    @property
    def of_cycle(self) -> Budget:
        """The budget of one cycle, which is what identifies a run."""
        return Budget(self.n_image, self.n_region, self.region, total=self.total)


Seconds = Annotated[StrictFloat, Field(ge=0, le=1e6, allow_inf_nan=False)]


@dataclass(frozen=True, config={"extra": "forbid"})
class AnnotationSeconds:
    """Time that an expert's actions take; the defaults are assumptions, not measurements.

    They suppose 10 s to open an image and find one's way in it, 5 s to find a region, and 2 s per click, be it a
    vertex of an outline or the name of a part.
    """

    image: Seconds = 10.0
    """Seconds per opening of an image."""

    region: Seconds = 5.0
    """Seconds per region, before its first click."""

    click: Seconds = 2.0
    """Seconds per click."""

    def hours(self, annotated: records.Annotated) -> float:
        """``(image * openings + region * regions + click * clicks) / 3600``."""
        seconds = self.image * annotated.openings + self.region * annotated.regions + self.click * annotated.clicks
        return seconds / 3600


Contrasts = tuple[tuple[str, str], ...]
"""Pairs of names of samplers."""

FOLDERS = ("first-cycle", "full-annotation", "report", "annotation", "slurm")
"""What lies in an experiment's folder beside the folders of its samplers."""

MOST_SEEDS = 10_000
"""Most repeats of an experiment."""


class Experiment(pydantic.BaseModel):
    """A grid of runs: samplers x budgets x seeds x folds."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    name: Annotated[str, AfterValidator(check_name)]
    """Name of the experiment, of its folder and of its MLflow experiment."""

    dataset: Component
    """The data set."""

    learner: Component
    """The learner."""

    samplers: Annotated[list[Sampler], Field(min_length=1)]
    """The samplers to compare."""

    budgets: Annotated[list[BudgetOfCycles], Field(min_length=1)]
    """The budgets to compare them under."""

    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**63)]], Field(min_length=1, max_length=MOST_SEEDS)]
    """Seeds of the repeats; a number n in the file stands for 0 ... n-1."""

    folds: Annotated[list[NonNegativeInt], Field(min_length=1)] | None = None
    """Cross-validation folds; all of the data set's by default."""

    start: Start | None = None
    """The first cycle, which all samplers of a seed share under all budgets; by default random, with the budget of
    each."""

    warm_start: bool = False
    """Whether a cycle starts from the weights of the one before."""

    passes: Passes | None = None
    """The passes in which images are predicted; a single one by default."""

    reference: dict[str, Any] | None = Field(default_factory=dict)
    """Learner options that differ in the full-annotation reference; null for no reference."""

    resources: Resources = Field(default_factory=Resources)
    """What one run occupies."""

    storage: str = "runs"
    """Folder for all results, the same on all nodes, or ``s3://bucket/prefix`` (``gs://``, ``az://``)."""

    annotation_seconds: AnnotationSeconds = Field(default_factory=AnnotationSeconds)
    """What an expert's time is reckoned from in reports; not part of a run's identity."""

    contrasts: Contrasts | None = None
    """The pairs of samplers that are tested, all by default; in a file ``{against: decomp}`` for one sampler against
    each of the others, or a list of pairs; not part of a run's identity."""

    annotation: Component = Component("folders")
    """What annotators' tools read and write where people label the pool (`decomp annotate`), as ``{format: folders}``;
    not part of a run's identity."""

    @pydantic.field_validator("annotation", mode="before")
    @classmethod
    def _by_format(cls, written: Any) -> Any:
        if isinstance(written, str | Component):
            return written
        if not isinstance(written, dict) or "format" not in written or "name" in written:
            raise ValueError("give the format that your tool reads and writes, like {format: folders}")
        return {"name" if key == "format" else key: value for key, value in written.items()}

    @pydantic.field_validator("seeds", mode="before")
    @classmethod
    def _count_of_seeds(cls, value: Any) -> Any:
        if isinstance(value, list):
            return value
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError("give the number of repeats, like 5, or a list of seeds, like [0, 3]")
        if value > MOST_SEEDS:
            raise ValueError(f"there are at most {MOST_SEEDS:,} seeds; to use this one alone write [{value}]")
        return list(range(value))

    @pydantic.field_validator("samplers")
    @classmethod
    def _folders_of_their_own(cls, samplers: list[Sampler]) -> list[Sampler]:
        for sampler in samplers:
            if sampler.name in FOLDERS:
                raise ValueError(f"{sampler.name!r} is a folder of other results; give the sampler another name")
        return samplers

    @pydantic.field_validator("contrasts", mode="plain")
    @classmethod
    def _pairs_or_against(cls, written: Any, info: pydantic.ValidationInfo) -> Contrasts | None:
        names = [sampler.name for sampler in info.data.get("samplers", [])]
        if written is None or not names:  # the mistake in the samplers is told
            return None
        if isinstance(written, dict) and list(written) == ["against"]:
            pairs = [(written["against"], name) for name in names if name != written["against"]]
        elif isinstance(written, list) and written and all(isinstance(p, list) and len(p) == 2 for p in written):
            pairs = [(first, second) for first, second in written]
        else:
            raise ValueError("give {against: SAMPLER} or pairs like [[decomp, rand], [decomp, uncert]]")
        known = dict.fromkeys(names)
        for name in (written["against"],) if isinstance(written, dict) else (name for pair in pairs for name in pair):
            if not isinstance(name, str) or name not in known:
                guess = nearest(str(name), known)
                raise ValueError(
                    f"no sampler is called {shown(name)}{guess}; they are {', '.join(names)} (null tests all pairs)"
                )
        if len({frozenset(pair) for pair in pairs if pair[0] != pair[1]}) < len(pairs):
            raise ValueError("a pair is two different samplers, and each pair is given once")
        return tuple(pairs)

    @pydantic.field_validator("storage")
    @classmethod
    def _check_storage(cls, storage: str) -> str:
        try:
            parse_location(storage)
        except UserError as error:
            raise ValueError(str(error)) from error
        except RuntimeError as error:  # of ~nobody
            raise ValueError("there is no such home; give a folder that all nodes see") from error
        if not storage or not storage.isprintable():
            raise ValueError("give a folder that all nodes see, or s3://bucket/prefix (gs://, az://)")
        return storage

    @pydantic.model_validator(mode="after")
    def _no_duplicates(self) -> "Experiment":
        _distinct("samplers", [sampler.name for sampler in self.samplers])
        _distinct("budgets", [budget.label for budget in self.budgets])
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
        return self.root.local or Path("runs").absolute() / self.name


def load_experiment(file: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and validate an experiment file.

    A file may name another one that it `extends`, whose top-level keys it inherits unless it gives them itself.

    Args:
        file: the YAML file.
        overrides: ``key=value`` strings; nested keys with dots, lists in brackets.

    Raises:
        UserError: with one line per mistake.
    """
    with mistakes_of(file):
        values = _read(file)
        override(values, overrides)
        try:
            return Experiment.model_validate(interpolated(file, values))
        except pydantic.ValidationError as error:
            raise UserError("\n".join(f"{file}: {_sentence(problem)}" for problem in error.errors())) from error


def _read(file: Path, readers: tuple[Path, ...] = ()) -> dict[Any, Any]:
    """The file's keys, and those that it does not give itself from the file that it extends."""
    with mistakes_of(file):
        values = read_file(file)
        extended = values.pop("extends", None)
        if extended is None:
            return values
        if not isinstance(extended, str):
            raise UserError(f"{file}: extends: give the path of an experiment file, relative to this one.")
        if file.resolve() in readers:
            raise UserError(f"{file}: extends itself; remove one of the 'extends'.")
        base = file.parent / extended
        if not base.exists():
            raise UserError(f"{base}: there is no such file; {file} extends it.")
        return _read(base, (*readers, file.resolve())) | values


def _sentence(problem: Any) -> str:
    location = problem["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{printable(str(part))}" for part in location).lstrip(".")
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument", "invalid_key"):
        known = _keys_at(location[:-1])
        return f"unknown key {key!r}{nearest(str(location[-1]), known)}; keys here are {', '.join(known)}."
    if problem["type"] == "missing":
        return f"the key {key!r} is missing; add it."
    message = "give keys and values" if problem["type"] == "dataclass_type" else describe(problem)
    if not key or message.startswith(f"{key}."):  # a rule over several keys names its own
        return f"{message}."
    return f"{key}: {message}, got {shown(problem['input'])}."


def _keys_at(location: Sequence[Any]) -> dict[str, Any]:
    """The keys that belong at a place of the file."""
    sections = {
        "samplers": Sampler,
        "budgets": BudgetOfCycles,
        "start": Start,
        "passes": Passes,
        "resources": Resources,
        "annotation_seconds": AnnotationSeconds,
    }
    if not location:
        return dict(Experiment.model_fields)
    return get_type_hints(sections[location[0]]) if location[0] in sections else {}


def _distinct(key: str, values: Sequence[Any]) -> None:
    twice = [value for value, count in Counter(values).items() if count > 1]
    if twice:
        raise ValueError(f"{key}: {twice[0]!r} is given twice; give each one once")
