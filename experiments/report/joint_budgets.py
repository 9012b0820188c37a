"""Budgets that are compared as one: of images and of the whole pool, with as many regions and one first cycle.

Samplers that select images spend the one, those that select in the whole pool the other (Sec. 12 of the method notes);
their learning curves start from the same point and spend the same, so they are compared with each other.
"""

from collections.abc import Hashable, Iterable

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
    joint: dict[str, str] = {}
    for labels in groups.values():
        members = [name for label in labels for name in samplers[label]]
        # A sampler under two of them would have two curves.
        together = " and ".join(labels) if len(set(members)) == len(members) else None
        joint |= {label: together or label for label in labels}
    return joint


def _alike(spec: RunSpec) -> Hashable:
    assert spec.budget is not None, spec.label
    return spec.budget.regions, repr(spec.budget.region), spec.first.key
