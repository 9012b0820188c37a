"""The plan of an experiment: all its runs, what is done already, and what cannot work."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain
from typing import Any, TypeVar

from decomp.experiments.problems import (
    annotation_problems,
    axes_problems,
    budget_problems,
    fits,
    learner_problems,
    passes_problems,
    sampler_problems,
    start_problems,
    worker_problems,
)
from decomp.experiments.report.run_history import RunHistory, read_histories
from decomp.experiments.schema import Experiment
from decomp.experiments.windows import in_pixels
from decomp.platform.annotation.answered import Answers, LateAnswers, with_answers
from decomp.platform.components import (
    build_dataset,
    build_learner,
    identified,
    reads_truth,
    stated_learner,
    told_selections,
)
from decomp.platform.datasets import Dataset
from decomp.platform.datasets.splits import unusable
from decomp.platform.errors import UserError
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.metrics import metric_of
from decomp.platform.spec import FORMAT, RunSpec
from decomp.platform.storage.runs import DamagedCycle, RunStore, read_identity
from decomp.platform.values import canonical, flatten

B = TypeVar("B", bound=Budget)


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
        """All runs, in order of preference: first those that others wait for, then those that take longest."""
        return (*self.firsts, *self.references, *self.runs)

    def stores(self, specs: Sequence[RunSpec]) -> list[RunStore]:
        """Folders of some of the runs."""
        return [RunStore(self.experiment.root, spec) for spec in specs]

    @property
    def metric(self) -> str:
        """The test metric of learning curves."""
        return metric_of(self.dataset)

    @property
    def scored(self) -> bool:
        """Whether there are test images; where people label the pool, there may be none, and then no score."""
        return any(self.dataset.ids("test", spec.fold) for spec in self.runs)

    @property
    def oracle_baselines(self) -> tuple[str, ...]:
        """Names of the samplers that read the truth, which nobody could use."""
        return tuple(sampler.name for sampler in self.experiment.samplers if reads_truth(sampler))

    @property
    def compared(self) -> list[RunStore]:
        """Folders of what reports and MLflow show: references and runs, which hold their shared first cycles."""
        return self.stores((*self.references, *self.runs))

    def check_labelled(self) -> None:
        """See that the labels of the pool are there to be revealed; `UserError` where people give them."""
        if not self.dataset.labelled:
            raise UserError("dataset: people label the images of the pool, so type 'decomp annotate' instead.")

    def data_problems(self) -> list[str]:
        """Damage of the data, a sentence each; if there is none, splits without an image or a labelled pixel, and then
        why the learner cannot train on the data."""
        folds = sorted({spec.fold for spec in self.specs})
        if problems := self.dataset.problems() or unusable(build_dataset(self.experiment.dataset), folds):
            return problems
        learners = [self.experiment.learner, *(spec.learner for spec in self.references[:1])]
        return list(dict.fromkeys(chain(*(build_learner(learner).problems(self.dataset) for learner in learners))))

    def trainings(self) -> int:
        """Trainings of the whole plan: the first cycle of a seed is trained once for all samplers."""
        return sum(spec.members * (spec.cycles - (spec.kind == "run")) for spec in self.specs)

    def epochs(self) -> int | None:
        """Epochs of all these trainings if no run ends early; None where the learner cannot tell."""
        learner = build_learner(self.experiment.learner)
        total = 0
        for spec in self.specs:
            if spec.budget is None:
                each = [build_learner(spec.learner).training_epochs(len(self.dataset.ids("train", spec.fold)))]
            else:
                regions = spec.budget.regions
                first = 2 if spec.kind == "run" else 1  # a run's first cycle is that of another spec
                each = [learner.training_epochs(cycle * regions) for cycle in range(first, spec.cycles + 1)]
            for epochs in each:
                if epochs is None:
                    return None
                total += spec.members * epochs
        return total

    def histories(self) -> tuple[RunHistory, ...]:
        """What is committed of all the runs now; every folder is listed once."""
        return read_histories(self.stores(self.specs))

    def trainings_done(self, histories: Sequence[RunHistory]) -> int:
        """Trainings whose cycles are committed already."""
        return sum(
            history.spec.members * min(len(history.own_cycles), history.spec.cycles - (history.spec.kind == "run"))
            for history in histories
        )

    def missing(self, histories: Sequence[RunHistory]) -> dict[str, RunStore]:
        """Runs that are not finished, by label, with the damaged first cycles that they start from."""
        missing = [history.store for history in histories if not _is_finished(history)]
        firsts = {store.first.spec.key for store in missing if store.spec.kind == "run"}
        missing += [h.store for h in histories if h.spec.key in firsts and h.cycles and not h.store.finished]
        return {store.spec.label: store for store in missing}

    def changes(self, histories: Sequence[RunHistory]) -> list[str]:
        """For runs that would start anew although others of the same name exist: what has changed, one line each."""
        reasons: Counter[str] = Counter()
        damaged = []
        for history in histories:
            identities = []
            for folder in [] if history.own_cycles else history.store.namesakes():
                try:
                    identities += [identity] if (identity := read_identity(folder)) is not None else []
                except UserError as error:
                    damaged.append(f"warning: {error}")
            readable = [identity for identity in identities if identity["format"] == FORMAT]
            if readable:
                reasons[min((_difference(identity, history.spec) for identity in readable), key=len)] += 1
            elif identities:
                reasons[f"the format of results changed from {identities[-1]['format']} to {FORMAT}"] += 1
        return damaged + [
            f"{change}: {count} run(s) start anew; the old ones stay in {self.experiment.root} and are not mixed in."
            for change, count in reasons.items()
        ]


def make_plan(experiment: Experiment) -> Plan:
    """Build everything that the experiment names and check that it can work.

    Raises:
        UserError: with one line per mistake.
    """
    experiment = experiment.model_copy(update={"learner": stated_learner(experiment.learner)})
    source, answers = build_dataset(experiment.dataset), LateAnswers()
    if not source.labelled:
        source = with_answers(source, answers)
    problems = learner_problems(experiment)
    try:
        # Without a learner the other mistakes are looked for in the data as they are, so that all are named at once.
        dataset = source if problems else build_learner(experiment.learner).prepare(source)
        problems += [] if problems else [*axes_problems(experiment, dataset), *passes_problems(experiment)]
        experiment, unfit = _in_pixels(experiment, dataset)
        if unfit:  # what else is wrong with the budgets cannot be told before
            raise UserError("\n".join(problems or unfit))
        for find in (sampler_problems, budget_problems, start_problems, worker_problems, annotation_problems):
            problems += find(experiment, dataset)
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

    plan, former = (_grid(experiment, dataset, folds, fingerprint, written) for written in (False, True))
    chosen = former if _began(former, plan) and not _began(plan, former) else plan
    answers.load = lambda: _answers(chosen)
    return chosen


def _answers(plan: Plan) -> Answers:
    """What people have answered in all runs."""
    from decomp.platform.loop.live import answers_of  # takes a while to load

    return answers_of(plan.stores(plan.runs), plan.dataset)


def _in_pixels(experiment: Experiment, dataset: Dataset) -> tuple[Experiment, list[str]]:
    """The experiment with windows in pixels, and what is wrong with those in millimetres."""
    budgets, problems = [], []
    for number, budget in enumerate(experiment.budgets):
        try:
            budgets.append(replace(budget, region=in_pixels(budget.region, dataset)))
        except UserError as error:
            problems.append(f"budgets[{number}].region: {error}")
    labels = [budget.label for budget in budgets]
    if twice := [label for label in labels if labels.count(label) > 1]:
        problems.append(f"budgets: {twice[0]} is given twice, in pixels and in millimetres; give each one once.")
    return experiment.model_copy(update={"budgets": budgets}), problems


def _began(plan: Plan, other: Plan) -> bool:
    """Whether any run has begun that is not in the other plan."""
    others = {spec.key for spec in other.specs}
    alone = plan.stores([spec for spec in plan.specs if spec.key not in others])
    return any((store.path / "run.json").exists() for store in alone)


def _grid(experiment: Experiment, dataset: Dataset, folds: Sequence[int], fingerprint: str, as_written: bool) -> Plan:
    """All runs; `as_written` finds those that began before options had a canonical form."""
    of = partial(identified, as_written=as_written)

    def identified_sampler(sampler: Sampler) -> Sampler:
        own = sampler.uncertainty
        measure = of("uncertainty", own) if isinstance(own, Component) else own
        images, regions = of("images", sampler.images), of("regions", sampler.regions)
        return replace(sampler, images=images, regions=regions, uncertainty=measure)

    def with_region(budget: B) -> B:
        return replace(budget, region=of("region", budget.region)) if isinstance(budget.region, Component) else budget

    samplers = [identified_sampler(sampler) for sampler in experiment.samplers]
    budgets = [with_region(budget) for budget in experiment.budgets]
    components = {"dataset": of("dataset", experiment.dataset), "learner": of("learner", experiment.learner)}
    start = experiment.start
    if start is not None:
        start = replace(start, budget=with_region(start.budget or budgets[0].of_cycle))
    experiment = experiment.model_copy(update={**components, "samplers": samplers, "budgets": budgets, "start": start})
    repeats = [(seed, fold) for seed in experiment.seeds for fold in folds]
    base = RunSpec(
        kind="reference",
        dataset=experiment.dataset,
        fingerprint=fingerprint,
        learner=experiment.learner,
        seed=0,
    )
    passes = experiment.passes
    spending = [
        (budget, identified_sampler(told_selections(sampler, budget.cycles - 1)))
        for budget in budgets
        for sampler in samplers
        if fits(sampler, budget)
    ]
    runs = [
        replace(
            base,
            kind="run",
            seed=seed,
            fold=fold,
            warm_start=experiment.warm_start,
            passes=passes,
            budget=budget.of_cycle,
            sampler=sampler,
            start=experiment.start,
            cycles=budget.cycles,
        )
        for seed, fold in repeats
        for budget, sampler in spending
    ]
    references = []
    if experiment.reference is not None and dataset.labelled:
        learner = of("learner", experiment.learner.with_options(experiment.reference))
        base = replace(base, learner=learner, passes=passes and passes.in_reference)
        references = [replace(base, seed=seed, fold=fold) for seed, fold in repeats]
    firsts = {run.first.key: run.first for run in runs}
    return Plan(experiment, dataset, tuple(firsts.values()), tuple(references), tuple(runs))


def _difference(old: Mapping[str, Any], new: RunSpec) -> str:
    """What differs between two runs of one name, in words; options outside the identity are shown as written."""
    before, after = flatten(old), flatten(new.identity())
    written = after | flatten(canonical(asdict(new)))
    changes = []
    for key in sorted(before | after):
        if before.get(key) == after.get(key):
            continue
        place, _, last = key.rpartition(".")
        if last == "code" and key not in before:
            changes.append(f"the code of {after[f'{place}.name']} is a part of what identifies a run now")
        elif last == "code":
            changes.append(f"the code of {after.get(f'{place}.name', before[f'{place}.name'])} changed")
        elif key != "fingerprint":
            changes.append(f"{key} changed from {before.get(key, 'unset')} to {written.get(key, 'unset')}")
    if not any(change.startswith("dataset.") for change in changes) and before["fingerprint"] != after["fingerprint"]:
        changes.insert(0, "the data changed")
    return ", ".join(changes).replace(".options.", ".")


def _is_finished(history: RunHistory) -> bool:
    try:
        return history.finished
    except DamagedCycle:
        return False
