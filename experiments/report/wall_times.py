"""What the computation took: seconds of each phase of a cycle, and wall times by sampler, as tables and a figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from decomp.experiments.report.cohorts import Cohort
from decomp.experiments.report.figures import DPI, LEGEND_LINE, Drawing, render, tidy
from decomp.experiments.report.page import Section
from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.statistics import Spread
from decomp.experiments.report.tables import Row, Table

PHASES = ("predict", "select", "reveal", "train", "evaluate")
"""Phases of a cycle in the order in which they happen; others come after them."""

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---", "+++")
"""Hatches of the phases, so that colour is not their only difference."""

# Paul Tol's bright scheme, which no sampler has, from dark to light so that phases differ in print too.
PHASE_COLOURS = ("#4477AA", "#CCBB44", "#66CCEE", "#AA3377", "#BBBBBB", "#228833", "#EE6677")


def wall_time_section(cohorts: Sequence[Cohort], histories: Sequence[RunHistory]) -> Section:
    """The section of the page.

    Args:
        cohorts: the runs of each budget.
        histories: all runs and references.
    """
    known = [timing for history in histories for timing in history.timings if timing.version]
    computed = sorted({f"decomp {timing.version}{_commit(timing.commit)}" for timing in known})
    text = (
        "Wall times depend on the machine and on what else it did; the time that an expert needs is another matter.\n\n"
        f"Computed by {', '.join(computed) or 'an unknown version'}."
    )
    drawing = phase_drawing(cohorts)
    return Section("Time", text, (phase_table(cohorts), wall_table(histories)), () if drawing is None else (drawing,))


def _commit(commit: str) -> str:
    return f" (commit {commit[:12]})" if commit else ""


def phase_seconds(history: RunHistory, last: int) -> dict[str, float]:
    """Mean seconds of each phase of a run's own cycles, which are 2 to `last`; cycle 1 is shared by all samplers.

    Cycles whose times were lost do not count.
    """
    timings = [timing.phases for timing in history.timings[1:last] if timing.phases]
    return {
        phase: sum(phases.get(phase, 0.0) for phases in timings) / len(timings)
        for phase in phases_of([history])
        if timings
    }


def phases_of(histories: Sequence[RunHistory]) -> tuple[str, ...]:
    """All phases that runs went through, in order."""
    timed = {phase for history in histories for timing in history.timings for phase in timing.phases}
    return (*(phase for phase in PHASES if phase in timed), *sorted(timed - set(PHASES)))


def samplers_phase_seconds(cohort: Cohort) -> dict[str, dict[str, Spread]]:
    """Mean wall time of each phase of a cycle by sampler, in seconds, over repeats; empty before cycle 2."""
    by_sampler: dict[str, dict[str, Spread]] = {}
    for name in cohort.names:
        repeats = [seconds for run in cohort.of(name) if (seconds := phase_seconds(run, cohort.cycle))]
        phases = dict.fromkeys(phase for seconds in repeats for phase in seconds)
        by_sampler[name] = {phase: Spread.of([seconds.get(phase, 0.0) for seconds in repeats]) for phase in phases}
    return by_sampler


def wall_seconds(histories: Sequence[RunHistory]) -> Mapping[str, tuple[int, float]]:
    """Trainings and their cycles' wall time in seconds, by sampler and for first cycles and references; each once, and
    none whose times were lost."""
    totals: dict[str, tuple[int, float]] = {}
    seen: set[str] = set()
    for history in histories:
        for number, timing in enumerate(history.timings, start=1):
            shared = history.spec.kind == "run" and number == 1
            owner = history.spec.first if shared else history.spec
            cycle = f"{owner.key}/{number}"
            if cycle in seen or not timing.phases:
                continue
            seen.add(cycle)
            who = "first cycles" if shared else owner.sampler.name if owner.sampler else "full annotation"
            trainings, seconds = totals.get(who, (0, 0.0))
            totals[who] = trainings + 1, seconds + sum(timing.phases.values())
    return totals


def phase_table(cohorts: Sequence[Cohort]) -> Table:
    """Mean seconds of every phase of a cycle by sampler."""
    phases = phases_of([history for cohort in cohorts for history in cohort.histories.values()])
    rows: list[Row] = []
    for cohort in cohorts:
        for name, seconds in samplers_phase_seconds(cohort).items():
            if seconds:
                means = [seconds[phase].mean if phase in seconds else None for phase in phases]
                total = sum(spread.mean for spread in seconds.values())
                rows.append((cohort.budget, name, len(cohort.repeats), *means, total))
    note = (
        "Mean seconds per cycle from cycle 2, over cycles and repeats; they depend on the machine and what else it did."
    )
    heads = ("budget", "sampler", "repeats", *phases, "cycle")
    return Table("phase_seconds", "Seconds per phase and cycle", heads, tuple(rows), note)


def wall_table(histories: Sequence[RunHistory]) -> Table:
    """Trainings and wall time of everything that is committed."""
    totals = wall_seconds(histories)
    rows: list[Row] = [(who, trainings, seconds, seconds / trainings) for who, (trainings, seconds) in totals.items()]
    if totals:
        trainings, seconds = (sum(values) for values in zip(*totals.values(), strict=True))
        rows.append(("all", trainings, seconds, seconds / trainings))
    note = "Sums of the known wall times of all committed cycles; runs that went on at the same time count one by one."
    return Table("wall_time", "Wall time", ("what", "cycles", "seconds", "seconds_per_cycle"), tuple(rows), note)


def phase_drawing(cohorts: Sequence[Cohort]) -> Drawing | None:
    """Mean seconds of the phases of a cycle, a bar per sampler and budget; None before cycle 2."""
    phases = phases_of([history for cohort in cohorts for history in cohort.histories.values()])
    bars = [
        (f"{sampler}, {cohort.budget}" if len(cohorts) > 1 else sampler, seconds)
        for cohort in cohorts
        for sampler, seconds in samplers_phase_seconds(cohort).items()
        if seconds
    ]
    if not bars:
        return None
    height = max(1.1 + 0.42 * len(bars), 0.4 + LEGEND_LINE * len(phases))
    figure = Figure(figsize=(8.6, height), dpi=DPI, layout="constrained")
    panel = figure.subplots()
    starts = np.zeros(len(bars))
    for number, phase in enumerate(phases):
        widths = np.array([seconds[phase].mean if phase in seconds else 0.0 for _, seconds in bars])
        panel.barh(
            range(len(bars)),
            widths,
            left=starts,
            height=0.66,
            label=phase,
            color=PHASE_COLOURS[number % len(PHASE_COLOURS)],
            hatch=HATCHES[number % len(HATCHES)],
            edgecolor="white",
            linewidth=0.6,
        )
        starts += widths
    panel.set_yticks(range(len(bars)), [label for label, _ in bars])
    panel.invert_yaxis()
    panel.set_xlabel("seconds per cycle")
    tidy(panel, "x")
    figure.legend(loc="outside right upper", frameon=False)
    note = "Mean over the cycles from 2 on and the repeats."
    return render(figure, "phase_seconds", "Wall time of a cycle by phase", note)
