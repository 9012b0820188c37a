"""What a reader must know of runs that were imported from an archive instead of computed here."""

import math
from collections.abc import Sequence

from decomp.experiments.report.run_history import RunHistory
from decomp.platform.storage.runs import DamagedCycle


def imported_notes(histories: Sequence[RunHistory]) -> list[str]:
    """A sentence for each archive, on runs that are too short, and on first cycles that are others than they were.

    Args:
        histories: of runs and references.
    """
    by_source: dict[str, list[RunHistory]] = {}
    for history in histories:
        if history.spec.kind != "first" and history.imported is not None:
            by_source.setdefault(history.imported.source, []).append(history)
    notes = []
    for source, runs in by_source.items():
        names = dict.fromkeys(run.spec.sampler.name if run.spec.sampler else "full annotation" for run in runs)
        notes.append(f"Imported from {source}, not computed here: {len(runs)} run(s) of {', '.join(names)}.")
    return notes + _too_short(histories) + _other_first_cycles(histories)


def _too_short(histories: Sequence[RunHistory]) -> list[str]:
    """Imported runs that are planned to go on."""
    short = sum(history.imported is not None and len(history.cycles) < history.spec.cycles for history in histories)
    if not short:
        return []
    return [
        f"{short} imported run(s) have fewer cycles than are planned; without a model to go on from they are computed "
        f"anew, unless they ended for lack of regions."
    ]


def _other_first_cycles(histories: Sequence[RunHistory]) -> list[str]:
    """First cycles that were computed here and have other scores than those that imported runs started from."""
    notes = {}
    for history in histories:
        mark = history.imported
        if mark is None or history.spec.kind != "run":
            continue
        try:
            now = history.cycles[0].record.metrics
        except DamagedCycle:  # which other commands name
            continue
        if all(math.isclose(now.get(name, math.nan), value, rel_tol=1e-9) for name, value in mark.metrics.items()):
            continue
        was, is_ = (", ".join(f"{name} {value:.6g}" for name, value in each.items()) for each in (mark.metrics, now))
        label = history.store.first.spec.label
        notes[label] = (
            f"{label} was computed here with another result ({is_}) than the imported runs started from ({was}), as "
            f"other machines or versions of libraries do; their first points are those computed here."
        )
    return list(notes.values())
