"""What cannot work in an experiment, a sentence for each mistake; said before anything is computed."""

import re
from collections.abc import Sequence

from decomp.experiments.schema import Experiment
from decomp.platform.components import build_format, build_learner, build_measure, build_partition, build_selectors
from decomp.platform.datasets import Dataset
from decomp.platform.datasets.base import pool_ids
from decomp.platform.errors import UserError, nearest, sized
from decomp.platform.grid import Budget, Component, Sampler
from decomp.platform.predictions import Measure
from decomp.platform.samplers import RegionSelector
from decomp.platform.samplers.tiny import kind_of
from decomp.platform.samplers.trial import check_measure, try_selectors


def learner_problems(experiment: Experiment) -> list[str]:
    """What is wrong with the learner, and with its options in the full-annotation reference."""
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


def passes_problems(experiment: Experiment) -> list[str]:
    """Why the learner, which can be made, cannot predict in the passes, and which samplers lack them."""
    if experiment.passes is None:
        return [
            f"samplers[{number}]: {sampler.name} reads {sampler.uncertainty}, which compares several predictions of an "
            f"image, but there is one; add passes, like {{method: ensemble, n: 5}}."
            for number, sampler in enumerate(experiment.samplers)
            if isinstance(sampler.uncertainty, Measure) and sampler.uncertainty.over_passes
        ]
    try:
        build_learner(experiment.learner).check_passes(experiment.passes)
    except UserError as error:
        return str(error).splitlines()
    return []


def axes_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """Why the learner, which can be made, is not for images like these; nothing if it is."""
    learner = build_learner(experiment.learner)
    images = dataset.ids("train", 0)[:1]
    axes = len(dataset.shape(images[0])) if images else learner.axes[0]
    if axes in learner.axes:
        return []
    kinds = {1: "sets of ROIs", 2: "images of two axes", 3: "volumes"}
    fitting = {1: "mlp or hactnet", 2: "unet or upernet", 3: "nnunet"}
    return [
        f"learner: {experiment.learner.name} is for {' and '.join(kinds[n] for n in learner.axes)}, but the images of "
        f"{experiment.dataset.name} are {kinds[axes]}; choose another one, like {fitting[axes]}."
    ]


def worker_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """A sentence if a run would have workers without an image."""
    pool = min(len(pool_ids(dataset, fold)) for fold in range(dataset.folds))
    if not pool or experiment.resources.workers <= pool:
        return []
    return [
        f"resources.workers: {experiment.resources.workers} workers share the images of the pool, which are only "
        f"{pool}; lower it to {pool} or less."
    ]


def sampler_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """What is wrong with the samplers, which are tried on a tiny image."""
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
            problems += _measure_problems(key, sampler, len(dataset.classes))
            problems += _fitting_problems(key, sampler, selectors[1], experiment.budgets)
            if selectors[1].reads_truth and not dataset.labelled:
                problems.append(f"{key}: {sampler.name} reads the truth, which nobody has told yet; choose another.")
        named = [("emphasis", name) for name in sampler.emphasis]
        named += [("background", sampler.background)] if sampler.background is not None else []
        problems += [
            f"{key}.{option}: the data set has no class {name!r}{nearest(name, dict.fromkeys(dataset.classes))}; "
            f"its classes are {', '.join(dataset.classes)}."
            for option, name in named
            if name not in dataset.classes
        ]
    return problems


def _measure_problems(key: str, sampler: Sampler, n_classes: int) -> list[str]:
    """What is wrong with a measure of the user's own, which is tried on a few pixels."""
    if not isinstance(sampler.uncertainty, Component):
        return []
    try:
        check_measure(build_measure(sampler.uncertainty), n_classes)
    except (AssertionError, UserError) as error:
        return [f"{key}.{'' if str(error).startswith('uncertainty') else 'uncertainty: '}{error}"]
    return []


def fits(sampler: Sampler, budget: Budget) -> bool:
    """Whether a sampler can spend a budget: one for the whole pool if it selects no images, else one by images."""
    return (sampler.images.name == "all") == (budget.total is not None)


def _fitting_problems(key: str, sampler: Sampler, regions: RegionSelector, budgets: Sequence[Budget]) -> list[str]:
    problems = []
    if not any(fits(sampler, budget) for budget in budgets):
        wanted = "a total, the regions of the whole pool" if sampler.images.name == "all" else "n_image"
        problems.append(f"{key}: {sampler.name} has no budget that it can spend; add one with {wanted}, to budgets.")
    if sampler.images.name == "all" and not regions.comparable:
        problems.append(
            f"{key}.images: {sampler.regions.name} gives no scores that can be compared between images, so it cannot "
            f"select in the whole pool; give an image selector, like {sampler.regions.name}."
        )
    if sampler.reselect_below is not None and not regions.needs.predictions:
        problems.append(
            f"{key}.reselect_below: {sampler.regions.name} reads no predictions, of which a region's confidence is "
            f"known; remove it, or choose other regions, like decomposition."
        )
    whole = all(isinstance(each.region, Component) and each.region.name == "image" for each in budgets)
    if sampler.reselect_below is not None and whole:
        problems.append(
            f"{key}.reselect_below: an image that is annotated as a whole is no candidate again; remove it, or give a "
            f"smaller region."
        )
    return problems


def start_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """What is wrong with the start."""
    start = experiment.start
    if start is None:
        return []
    budget = start.budget or experiment.budgets[0].of_cycle
    problems = [] if start.budget is None else _problems_of_budget("start.budget", budget, dataset)
    if start.choice == "all-classes" and not dataset.labelled:
        problems.append("start: all-classes reads the truth, which nobody has told yet; give random.")
    least = 2 * len(dataset.classes)
    if start.choice == "all-classes" and budget.regions < least:
        problems.append(
            f"start: two regions of each of {len(dataset.classes)} classes are {least}, but the budget has "
            f"{budget.regions}; give the start a larger budget."
        )
    if start.choice == "all-classes" and budget.total is not None:
        problems.append("start: all-classes selects images, so give the start a budget with n_image.")
    return problems


def annotation_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """What is wrong with the format of annotators' tools, where people label the pool."""
    if not dataset.labelled:
        try:
            build_format(experiment.annotation)
        except UserError as error:
            return str(error).splitlines()
    return []


def budget_problems(experiment: Experiment, dataset: Dataset) -> list[str]:
    """What is wrong with the budgets, which must fit into the images and have a sampler."""
    problems = []
    for number, budget in enumerate(experiment.budgets):
        key = f"budgets[{number}]"
        problems += _problems_of_budget(key, budget, dataset)
        if not any(fits(sampler, budget) for sampler in experiment.samplers):
            wanted = "images: all" if budget.total is not None else "an image selector"
            problems.append(f"{key}: no sampler can spend this budget; add one with {wanted}.")
    return problems


def _problems_of_budget(key: str, budget: Budget, dataset: Dataset) -> list[str]:
    problems = []
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
        if budget.n_image is not None and 0 < len(pool) < budget.n_image:
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
            f"{key}.region: a region of {sized(region)} has {len(region)} axes, but image {too_small[0]!r} of "
            f"{sized(first)} has {len(first)}; give one extent per axis ([1, height, width] is a window in a slice of "
            f"a volume)."
        ]
    if len(first) == 1:
        return [f"{key}.region: image {too_small[0]!r} is a set of ROIs, so a region is [1], not [{region[0]}]."]
    return [
        f"{key}.region: a region of {sized(region)} does not fit into image {too_small[0]!r} of {sized(first)} "
        f"({len(too_small)} image(s) too small); make it smaller."
    ]


def _fits(region: Sequence[int], shape: Sequence[int]) -> bool:
    if len(shape) == 1:
        return tuple(region) == (1,)
    return len(shape) == len(region) and all(n >= k for n, k in zip(shape, region, strict=True))
