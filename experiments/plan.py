"""The plan of an experiment: all its runs, what is done already, and what cannot work."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from decomp.experiments.schema import Experiment
from decomp.platform.components import build_dataset, build_learner, build_partition, build_selectors
from decomp.platform.datasets import Dataset
from decomp.platform.datasets.splits import unusable
from decomp.platform.errors import UserError, nearest
from decomp.platform.metrics import metric_of
from decomp.platform.samplers.tiny import kind_of
from decomp.platform.samplers.trial import try_selectors
from decomp.platform.spec import Component, RunSpec, flatten
from decomp.platform.storage.runs import RunStore, stored_runs


@dataclass(frozen=True)
class Plan:
    """All runs of an experiment.

    Attributes:
        experiment: the experiment.
        dataset: its data set, as the learner reads it.
        firsts: first cycles, one for each budget, seed and fold.
        references: full-annotation references, one for each seed and fold.
        runs: runs, by seed, fold and budget, then sampler, so that the samplers of a seed finish together.
    """

    experiment: Experiment
    dataset: Dataset
    firsts: tuple[RunSpec, ...]
    references: tuple[RunSpec, ...]
    runs: tuple[RunSpec, ...]

    @property
    def specs(self) -> tuple[RunSpec, ...]:
        """Everything, in order of preference: what others wait for first, then what takes longest."""
        return (*self.firsts, *self.references, *self.runs)

    def stores(self, specs: Sequence[RunSpec]) -> list[RunStore]:
        """Folders of some of the runs."""
        return [RunStore(self.experiment.root, spec) for spec in specs]

    @property
    def metric(self) -> str:
        """The test metric of learning curves."""
        return metric_of(self.dataset)

    @property
    def compared(self) -> list[RunStore]:
        """Folders of what reports and MLflow show: references and runs, which hold their shared first cycles."""
        return self.stores((*self.references, *self.runs))

    def data_problems(self) -> list[str]:
        """Damage of the data, a sentence each; if there is none, splits without an image or a labelled pixel."""
        folds = sorted({spec.fold for spec in self.specs})
        return self.dataset.problems() or unusable(build_dataset(self.experiment.dataset), folds)

    def trainings(self) -> int:
        """Trainings of the whole plan: the first cycle of a seed is trained once for all samplers."""
        return len(self.firsts) + len(self.references) + sum(spec.cycles - 1 for spec in self.runs)

    def epochs(self) -> int | None:
        """Epochs of all these trainings if no run ends early; None where the learner cannot tell."""
        learner = build_learner(self.experiment.learner)
        total = 0
        for spec in self.specs:
            if spec.budget is None:
                each = [build_learner(spec.learner).training_epochs(len(self.dataset.ids("train", spec.fold)))]
            else:
                regions = spec.budget.n_image * spec.budget.n_region
                first = 2 if spec.kind == "run" else 1  # a run's first cycle is that of another spec
                each = [learner.training_epochs(cycle * regions) for cycle in range(first, spec.cycles + 1)]
            for epochs in each:
                if epochs is None:
                    return None
                total += epochs
        return total

    def trainings_done(self) -> int:
        """Trainings whose cycles are committed already."""
        done = sum(len(store.committed()) for store in self.stores((*self.firsts, *self.references)))
        for store in self.stores(self.runs):
            done += min(max(0, len(store.committed()) - 1), store.spec.cycles - 1)
        return done

    def changes(self) -> list[str]:
        """For runs that would start anew although others of the same name exist: what has changed, one line each."""
        stored: dict[str, RunStore] = {}
        for store in stored_runs(self.experiment.root):
            stored[store.spec.label] = store
        reasons: Counter[str] = Counter()
        for store in self.stores(self.specs):
            other = stored.get(store.spec.label)
            if other is not None and not (store.path / "run.json").exists():
                reasons[_difference(other.spec.identity(), store.spec.identity())] += 1
        return [
            f"{change}: {count} run(s) start anew; the old ones stay in {self.experiment.root} and are not mixed in."
            for change, count in reasons.items()
        ]


def make_plan(experiment: Experiment) -> Plan:
    """Build everything that the experiment names and check that it can work.

    Raises:
        UserError: with one line per mistake.
    """
    source = build_dataset(experiment.dataset)
    problems = _learner_problems(experiment)
    try:
        # Without a learner the other mistakes are looked for in the data as they are, so that all are named at once.
        dataset = source if problems else build_learner(experiment.learner).prepare(source)
        problems += [*_sampler_problems(experiment, dataset), *_budget_problems(experiment, dataset)]
        fingerprint = dataset.fingerprint()
    except UserError as error:  # one file is damaged: are there more?
        raise UserError("\n".join(source.problems() or [str(error)])) from error
    folds = experiment.folds if experiment.folds is not None else list(range(dataset.folds))
    problems += [
        f"folds: the data set has no fold {fold}; give 0 to {dataset.folds - 1}."
        for fold in folds
        if fold >= dataset.folds
    ]
    if problems:
        raise UserError("\n".join(problems))

    repeats = [(seed, fold) for seed in experiment.seeds for fold in folds]
    base = RunSpec(
        kind="reference",
        dataset=experiment.dataset,
        fingerprint=fingerprint,
        learner=experiment.learner,
        seed=0,
    )
    runs = [
        replace(
            base,
            kind="run",
            seed=seed,
            fold=fold,
            warm_start=experiment.warm_start,
            budget=budget.of_cycle,
            sampler=sampler,
            cycles=budget.cycles,
        )
        for seed, fold in repeats
        for budget in experiment.budgets
        for sampler in experiment.samplers
    ]
    references = []
    if experiment.reference is not None:
        learner = experiment.learner.with_options(experiment.reference)
        references = [replace(base, learner=learner, seed=seed, fold=fold) for seed, fold in repeats]
    firsts = {run.first.key: run.first for run in runs}
    return Plan(experiment, dataset, tuple(firsts.values()), tuple(references), tuple(runs))


def _learner_problems(experiment: Experiment) -> list[str]:
    problems = []
    together = experiment.resources.training_workers
    for key, overrides in (("learner", {}), ("reference", experiment.reference or {})):
        try:
            most = build_learner(experiment.learner.with_options(overrides)).most_processes
        except UserError as error:
            if key == "learner":
                return str(error).splitlines()
            problems += re.sub("^learner", "reference", str(error), flags=re.MULTILINE).splitlines()
        else:
            if together > most:
                processes = "one process" if most == 1 else f"at most {most} processes"
                problems.append(
                    f"resources.training_workers: {experiment.learner.name} trains a model in {processes}, not "
                    f"{together}; set it to {most}."
                )
    return list(dict.fromkeys(problems))


def _sampler_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    problems = []
    regions = [budget.region for budget in experiment.budgets]
    kinds = sorted({kind_of(None if isinstance(region, Component) else region) for region in regions})
    for number, sampler in enumerate(experiment.samplers):
        key = f"samplers[{number}]"
        try:
            selectors = build_selectors(sampler)
        except UserError as error:
            lines = str(error).splitlines()
            problems += [f"{key}{'.' if line.startswith(('images', 'regions')) else ': '}{line}" for line in lines]
        else:
            problems += [f"{key}.{fault}" for fault in try_selectors(*selectors, kinds, len(dataset.classes))]
        named = [("emphasis", name) for name in sampler.emphasis]
        named += [("background", sampler.background)] if sampler.background is not None else []
        problems += [
            f"{key}.{option}: the data set has no class {name!r}{nearest(name, dict.fromkeys(dataset.classes))}; "
            f"its classes are {', '.join(dataset.classes)}."
            for option, name in named
            if name not in dataset.classes
        ]
    return problems


def _budget_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    problems = []
    for number, budget in enumerate(experiment.budgets):
        key = f"budgets[{number}]"
        if isinstance(budget.region, Component):
            if dataset.task == "roi":
                problems.append(f"{key}.region: the images are sets of ROIs, so a region is [1].")
            try:
                build_partition(budget.region)
            except UserError as error:
                lines = str(error).splitlines()
                problems += [f"{key}.{'' if line.startswith('region') else 'region: '}{line}" for line in lines]
        for fold in range(dataset.folds):
            pool = dataset.ids("train", fold)
            if 0 < len(pool) < budget.n_image:
                problems.append(
                    f"{key}.n_image: {budget.n_image} images per cycle, but the pool has only {len(pool)}; lower it."
                )
            if not isinstance(budget.region, Component):
                problems += _region_problems(key, budget.region, dataset, pool)
    return list(dict.fromkeys(problems))


def _region_problems(key: str, region: tuple[int, ...], dataset: Dataset, pool: Sequence[str]) -> list[str]:
    shapes = {image: dataset.shape(image) for image in pool}
    too_small = [image for image, shape in shapes.items() if not _fits(region, shape)]
    if not too_small:
        return []
    first = shapes[too_small[0]]
    if len(first) != len(region):
        return [
            f"{key}.region: a region of {_shape(region)} has {len(region)} axes, but image {too_small[0]!r} of "
            f"{_shape(first)} has {len(first)}; give one extent per axis ([1, height, width] is a window in a slice of "
            f"a volume)."
        ]
    if len(first) == 1:
        return [f"{key}.region: image {too_small[0]!r} is a set of ROIs, so a region is [1], not [{region[0]}]."]
    return [
        f"{key}.region: a region of {_shape(region)} does not fit into image {too_small[0]!r} of {_shape(first)} "
        f"({len(too_small)} image(s) too small); make it smaller."
    ]


def _fits(region: Sequence[int], shape: Sequence[int]) -> bool:
    if len(shape) == 1:
        return tuple(region) == (1,)
    return len(shape) == len(region) and all(n >= k for n, k in zip(shape, region, strict=True))


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    before, after = flatten(old), flatten(new)
    changes = [
        f"{key} changed from {before.get(key, 'unset')} to {after.get(key, 'unset')}"
        for key in sorted(before | after)
        if before.get(key) != after.get(key)
    ]
    return ", ".join(changes).replace(".options.", ".")
