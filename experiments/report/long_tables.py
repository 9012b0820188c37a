"""Everything that is committed as long tables, a row per repeat and cycle: for the report, data frames and archives."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from decomp.experiments.report.axes import Axis
from decomp.experiments.report.run_history import CommittedCycle, RunHistory
from decomp.experiments.report.tables import REPEATS, Row, Table
from decomp.platform.ledger import SCHEMA

WHO = ("budget", "sampler", "seed", "fold", "cycle")
"""First columns of every long table."""

FULL = "full annotation"
"""What stands for the sampler of a reference, which has no budget."""


def cycle_table(histories: Sequence[RunHistory], axes: Sequence[Axis]) -> Table:
    """What is annotated after every cycle, as all axes measure it, the test metrics, and where runs were imported from.

    Args:
        histories: of runs and references.
        axes: measures of the annotation, a column each.
    """
    metrics = tuple(dict.fromkeys(name for _, cycle in _cycles(histories) for name in cycle.record.metrics))
    rows: list[Row] = []
    for history, cycle in _cycles(histories):
        record, annotated = cycle.record, cycle.record.annotated
        amounts = [axis.amount(annotated) for axis in axes]
        scores = [record.metrics.get(metric) for metric in metrics]
        who = _who(history, record.cycle)
        rows.append((*who, annotated.images, annotated.pixels, *amounts, *scores, _archive(history)))
    heads = (*WHO, "images", "pixels", *(axis.name for axis in axes), *metrics, "imported_from")
    return Table(REPEATS, "Every repeat and cycle", heads, tuple(rows))


def class_table(histories: Sequence[RunHistory], classes: Sequence[str]) -> Table:
    """Of every class and cycle: its test scores, its annotated pixels, its confidence and its weight.

    Confidence and weight (Eq. 1 and 2) are those that the cycle's selection used. A nested set of classes has scores
    alone; undefined cells are None.

    Args:
        histories: of runs and references.
        classes: names of the data set's classes.
    """
    kinds = tuple(dict.fromkeys(kind for _, cycle in _cycles(histories) for kind in cycle.record.class_metrics))
    rows: list[Row] = []
    for history, cycle in _cycles(histories):
        record = cycle.record
        names = dict.fromkeys([*classes, *(name for kind in kinds for name in record.class_metrics.get(kind, {}))])
        numbers = {name: number for number, name in enumerate(classes)}
        for name in names:
            scores = [record.class_metrics.get(kind, {}).get(name) for kind in kinds]
            number = numbers.get(name)
            columns = (record.annotated.class_pixels, record.class_confidence, record.class_weights)
            values = [None if number is None or column is None else column[number] for column in columns]
            rows.append((*_who(history, record.cycle), name, *scores, *values))
    heads = (*WHO, "class", *kinds, "annotated_pixels", "confidence", "weight")
    return Table("class_cycles", "Every class, repeat and cycle", heads, tuple(rows))


def timing_table(histories: Sequence[RunHistory]) -> Table:
    """Wall time of every phase in seconds, when the cycle was committed, by which code, and where it was imported from.

    The first cycle that samplers share stands in the rows of each of them.
    """
    phases = tuple(dict.fromkeys(phase for _, cycle in _cycles(histories) for phase in cycle.timing.phases))
    rows: list[Row] = []
    for history, cycle in _cycles(histories):
        timing = cycle.timing
        seconds = [timing.phases.get(phase) for phase in phases]
        code = (timing.committed_at, timing.version, timing.commit, _archive(history))
        rows.append((*_who(history, cycle.record.cycle), *seconds, *code))
    heads = (*WHO, *phases, "committed_at", "version", "commit", "imported_from")
    return Table("timings", "Wall times of every repeat and cycle", heads, tuple(rows))


def region_table(histories: Sequence[RunHistory], classes: Sequence[str]) -> pa.Table:
    """Every annotated region, a row each, with the columns of the ledger; the class drawn for it by its name.

    Args:
        histories: of runs; the regions of a reference are whole images.
        classes: names of the data set's classes.
    """
    parts = []
    for history, cycle in _cycles(histories):
        table = cycle.ledger.table
        drawn = [None if number is None else classes[number] for number in table["drawn_class"].to_pylist()]
        table = table.set_column(
            table.schema.get_field_index("drawn_class"), "drawn_class", pa.array(drawn, pa.string())
        )
        who = _who(history, cycle.record.cycle)[:-1]  # the ledger has the cycle itself
        columns = [
            pa.array([value] * table.num_rows, pa.int64() if isinstance(value, int) else pa.string()) for value in who
        ]
        parts.append(pa.table([*columns, *table.columns], names=[*WHO[:-1], *table.column_names]))
    if parts:
        return pa.concat_tables(parts)
    return pa.table({name: [] for name in (*WHO[:-1], *SCHEMA.names)})


def _cycles(histories: Sequence[RunHistory]) -> Iterator[tuple[RunHistory, CommittedCycle]]:
    return ((history, cycle) for history in histories for cycle in history.cycles)


def _archive(history: RunHistory) -> str | None:
    return history.imported.archive if history.imported else None


def _who(history: RunHistory, cycle: int) -> tuple[str | None, str, int, int, int]:
    spec = history.spec
    budget, sampler = spec.budget.label if spec.budget else None, spec.sampler.name if spec.sampler else FULL
    return (budget, sampler, spec.seed, spec.fold, cycle)
