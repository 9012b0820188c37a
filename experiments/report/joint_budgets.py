"""Budgets that are compared as one: of images and of the whole pool, with as many regions and one first cycle.

Samplers that select images spend the one, those that select in the whole pool the other (Sec. 12 of the method notes).
Their learning curves start from the same point and may annotate as many regions, so they are compared with each other
over what is annotated, and what that costs. They do not open as many images: the regions of a cycle or two of the whole
pool may lie in more images than the others open in a run, so areas over a number of images are taken, and compared, for
each budget by itself. Nor do they always annotate as much: where images give fewer regions than they may, as slides
give their few ROIs, curves end at different amounts. Of several budgets of images, such as a dense and a sparse one,
the first is that which the whole pool's is compared with.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from decomp.platform.spec import RunSpec


def joint_budgets(specs: Iterable[RunSpec]) -> dict[str, str]:
    """By the label of a budget, the label under which its runs are compared: its own, or one of several budgets.

    Args:
        specs: of runs, references and first cycles; the latter two are skipped.
    """
    samplers: dict[str, set[str]] = {}
    earliest: dict[str, RunSpec] = {}
    for spec in specs:
        if spec.kind == "run" and spec.budget is not None and spec.sampler is not None:
            label = spec.budget.label
            samplers.setdefault(label, set()).add(spec.sampler.name)
            if label not in earliest or (spec.seed, spec.fold) < (earliest[label].seed, earliest[label].fold):
                earliest[label] = spec
    groups: dict[Hashable, list[str]] = {}
    for label, spec in earliest.items():
        groups.setdefault(_alike(spec), []).append(label)
    return {
        label: " and ".join(labels)
        for alike in groups.values()
        for labels in _joined(alike, samplers)
        for label in labels
    }


def joins(joint: Mapping[str, str]) -> bool:
    """Whether several budgets are compared as one; `joint` as `joint_budgets` gives it."""
    return len(set(joint.values())) < len(joint)


def _joined(alike: Sequence[str], samplers: Mapping[str, set[str]]) -> list[list[str]]:
    """Budgets of equal size, in their order, each with the first ones whose samplers are all others.

    A sampler under two budgets that are compared as one would have two curves.
    """
    groups: list[list[str]] = []
    for label in alike:
        group = next((g for g in groups if not any(samplers[label] & samplers[other] for other in g)), None)
        if group is None:
            groups.append([label])
        else:
            group.append(label)
    return groups


def _alike(spec: RunSpec) -> Hashable:
    assert spec.budget is not None, spec.label
    return spec.budget.regions, repr(spec.budget.region), spec.first.key
