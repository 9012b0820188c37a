"""What MLflow is told about a run: names, parameters, tags and metrics, as plain data."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from decomp.experiments.import_marks import Import
from decomp.experiments.report.comparison import Comparison
from decomp.experiments.report.figures import GREY, style_of
from decomp.platform.components import reads_truth
from decomp.platform.spec import RunSpec
from decomp.platform.storage.records import Annotated, CycleRecord, Timing
from decomp.platform.values import flatten

KEY, GROUP = "decomp.key", "decomp.group"
"""Tags by which runs are found again: key of a run, `group_key` of a parent."""

MIRRORED, DIGEST, FIGURE = "decomp.mirrored", "decomp.digest", "decomp.figure"
"""Tags that say what is logged already: number of cycles of a run, content of a summary, content of its figure."""

AXES = {
    "ppm": "annotated_ppm",
    "images_ppm": "annotated_images_ppm",
    "openings": "image_openings",
    "clicks": "clicks",
}
"""What learning curves are logged over, by the end of their names: metrics of `cycle_points`."""

MEAN = "mean"
"""Tag ``kind`` of parents; that of the others is ``run``, ``reference`` or ``comparison``."""


@dataclass(frozen=True)
class Point:
    """One value of a metric.

    Attributes:
        key: the metric's name.
        value: a finite number.
        timestamp: when the cycle was committed, in milliseconds; MLflow takes two equal points for one.
        step: what a chart runs over: the cycle or, in `curve_points`, the annotation so far.
        cycle: the cycle.
    """

    key: str
    value: float
    timestamp: int
    step: int
    cycle: int


def run_name(spec: RunSpec) -> str:
    """Name of a run, e.g. ``decomp s0 f0 10x12-16x16``: seed and fold stay visible where a page cuts it off."""
    return " ".join([_subject(spec), f"s{spec.seed} f{spec.fold}", *([spec.budget.label] if spec.budget else [])])


def group_name(spec: RunSpec) -> str:
    """Name of what its repeats have in common, e.g. ``decomp 10x12-16x16``."""
    return f"{_subject(spec)} {spec.budget.label}" if spec.budget else _subject(spec)


def group_key(spec: RunSpec) -> str:
    """A key that is equal for runs that differ in seed and fold only."""
    return replace(spec, seed=0, fold=0).key


def group_parameters(spec: RunSpec) -> dict[str, str]:
    """Parameters of a parent run: its subject, and what its repeats' identities have in common, flattened.

    Pages of MLflow group by parameters and not by tags, so ``sampler`` and ``budget`` are both.
    """
    shared = {key: value for key, value in spec.identity().items() if key not in ("seed", "fold")}
    flat = {_allowed(key): str(value) for key, value in flatten(shared).items() if value is not None}
    return _subject_fields(spec) | flat


def run_parameters(spec: RunSpec) -> dict[str, str]:
    """Parameters of a child run, e.g. ``sampler``, ``seed``, ``learner.options.iterations``."""
    return group_parameters(spec) | {"seed": str(spec.seed), "fold": str(spec.fold)}


def group_tags(spec: RunSpec) -> dict[str, str]:
    """Tags of a parent run."""
    return _shared_tags(spec) | {GROUP: group_key(spec), "kind": MEAN}


def run_tags(spec: RunSpec) -> dict[str, str]:
    """Tags of a child run."""
    return _shared_tags(spec) | {KEY: spec.key, "kind": spec.kind, "seed": str(spec.seed), "fold": str(spec.fold)}


def import_tags(imported: Import | None) -> dict[str, str]:
    """Tags of a child run that was not computed here: the archive that it was imported from."""
    return {"imported_from": imported.archive, "imported_sha256": imported.sha256} if imported else {}


def dataset_source(spec: RunSpec) -> dict[str, str]:
    """Where a run's data set comes from: its component, without options, which may name folders of this machine."""
    return {"component": spec.dataset.name}


def charts_query(metric: str | None) -> str:
    """The part of an address that makes MLflow's page of an experiment show charts of its parents, the best first.

    These are the parameters that the page itself writes into its address. A saved view would be a tag
    ``mlflow.sharedViewState.*`` with the page's compressed state, whose form MLflow documents nowhere and changes.
    """
    order = {"orderByKey": f"metrics.`{metric}`", "orderByAsc": "false"} if metric else {}
    view = {"searchFilter": f"tags.kind = '{MEAN}'", **order, "compareRunsMode": "CHART"}
    return urlencode(view, quote_via=quote)


def _shared_tags(spec: RunSpec) -> dict[str, str]:
    return _subject_fields(spec) | {
        "dataset_fingerprint": spec.fingerprint,
        "mlflow.source.name": "decomp",
        "mlflow.runColor": style_of(spec.sampler.name).colour if spec.sampler else GREY,
        **({"oracle_baseline": "reads the truth"} if spec.sampler and reads_truth(spec.sampler) else {}),
    }


def cycle_tags(spec: RunSpec, record: CycleRecord, timing: Timing) -> dict[str, str]:
    """Tags that a committed cycle adds: which code computed it, and the first cycle, shared by all samplers."""
    tags = {MIRRORED: str(record.cycle)}
    if timing.version:
        tags["decomp_version"] = timing.version
    if timing.commit:
        tags |= {"git_commit": timing.commit, "mlflow.source.git.commit": timing.commit}
    if spec.kind == "run" and record.cycle == 1:
        tags |= {"first_cycle_key": spec.first.key, "first_cycle_checkpoint_sha256": record.checkpoint_sha256}
    return tags


def run_points(spec: RunSpec, record: CycleRecord, timing: Timing, classes: Sequence[str]) -> list[Point]:
    """All metrics of a committed cycle, with curves unless it is a reference, whose curve would be a single point."""
    curves = curve_points(record, timing) if spec.kind == "run" else []
    return cycle_points(record, timing, classes) + curves


def curve_points(record: CycleRecord, timing: Timing) -> list[Point]:
    """Test metrics once more by what was annotated for them instead of by cycle, e.g. ``curves/miou_by_clicks``.

    Steps are integers in the unit that the name ends with, see `AXES`. MLflow's pages show a section for what
    is before the slash, in order of the alphabet, so these come first.
    """
    annotation = _annotation(record.annotated)
    steps = {axis: round(annotation[metric]) for axis, metric in AXES.items()}
    return [
        Point(f"curves/{_allowed(name)}_by_{axis}", float(value), timing.committed_at, step, record.cycle)
        for name, value in record.metrics.items()
        if math.isfinite(value)
        for axis, step in steps.items()
    ]


def cycle_points(record: CycleRecord, timing: Timing, classes: Sequence[str]) -> list[Point]:
    """Metrics of a cycle, without the undefined ones.

    Test metrics by their names, ``iou/CLASS`` and the like per class, ``annotated_*`` over the whole ledger (``ppm``:
    of the training pixels), ``share/CLASS`` of the annotated pixels, ``delta/CLASS`` and ``w/CLASS`` that
    this cycle's selection used (Eq. 1 and 2), ``seconds/PHASE``.
    """
    names = class_keys(classes)
    key_of = dict(zip(classes, names, strict=True))
    values: dict[str, float | None] = {_allowed(name): value for name, value in record.metrics.items()}
    for metric, per_class in record.class_metrics.items():
        for name, value in per_class.items():  # a class, or a nested set of classes
            values[f"{_allowed(metric)}/{key_of.get(name) or class_keys([name])[0]}"] = value
    values |= _annotation(record.annotated)
    labelled = sum(record.annotated.class_pixels)
    if labelled:
        shares = [pixels / labelled for pixels in record.annotated.class_pixels]
        values |= {f"share/{name}": share for name, share in zip(names, shares, strict=True)}
    for prefix, weights in (("delta", record.class_confidence), ("w", record.class_weights)):
        if weights is not None:
            values |= {f"{prefix}/{name}": value for name, value in zip(names, weights, strict=True)}
    values |= {f"seconds/{_allowed(phase)}": seconds for phase, seconds in timing.phases.items()}
    return [
        Point(key, float(value), timing.committed_at, record.cycle, record.cycle)
        for key, value in values.items()
        if value is not None and math.isfinite(value)
    ]


def mean_points(runs: Sequence[Sequence[Point]], spread_of: Iterable[str]) -> list[Point]:
    """Mean over runs of every metric and cycle that all of them have, at the time of the last of them.

    Repeats differ in how much they have annotated after the same cycle, so the steps of `curve_points` are averaged
    like the values, as in the report's figures.

    Args:
        runs: points of each run; at least one run.
        spread_of: metrics whose sample standard deviation is added as ``METRIC_sd``, for two runs or more.
    """
    tables = [{(point.key, point.cycle): point for point in points} for points in runs]
    with_spread = set(spread_of)
    means = []
    for key, cycle in tables[0]:
        if not all((key, cycle) in table for table in tables):
            continue
        points = [table[key, cycle] for table in tables]
        mean = sum(point.value for point in points) / len(points)
        step = round(sum(point.step for point in points) / len(points))
        last = replace(points[0], value=mean, step=step, timestamp=max(point.timestamp for point in points))
        means.append(last)
        if key in with_spread and len(points) > 1:
            variance = sum((point.value - mean) ** 2 for point in points) / (len(points) - 1)
            means.append(replace(last, key=f"{key}_sd", value=math.sqrt(variance)))
    return means


def summary_points(comparison: Comparison, timestamp: int) -> list[Point]:
    """Means of the final score, the area under the curve and the annotation needed (ppm), per budget and sampler."""
    values = {}
    for budget in comparison.budgets:
        for result in budget.samplers:
            name = _allowed(f"{result.sampler} {budget.budget}")
            needed = result.needed.amount if result.needed else None
            at_most = result.needed.at_most if result.needed else None
            values[f"summary/final score {name}"] = result.final.mean if result.final else None
            values[f"summary/area under curve {name}"] = result.area.mean if result.area else None
            values[f"summary/annotation needed ppm {name}"] = 1e6 * needed.mean if needed else None
            values[f"summary/annotation needed at most ppm {name}"] = None if at_most is None else 1e6 * at_most
    values["summary/full annotation"] = comparison.reference.mean if comparison.reference else None
    return [Point(key, value, timestamp, 0, 0) for key, value in values.items() if value is not None]


def class_keys(classes: Sequence[str]) -> list[str]:
    """Class names as MLflow accepts them in a metric's name; the class's number is added where two become equal."""
    names = [re.sub(r"[^\w -]", "_", name) for name in classes]
    return [f"{name}_{c}" if names.count(name) > 1 else name for c, name in enumerate(names)]


def _annotation(annotated: Annotated) -> dict[str, float]:
    return {
        "annotated_ppm": 1e6 * annotated.share,
        "annotated_images_ppm": 1e6 * annotated.image_share,
        "annotated_images": annotated.images,
        "annotated_regions": annotated.regions,
        "annotated_pixels": annotated.pixels,
        "image_openings": annotated.openings,
        "clicks": annotated.clicks,
    }


def _subject_fields(spec: RunSpec) -> dict[str, str]:
    """Sampler and budget, as tags and as parameters."""
    return {"sampler": _subject(spec)} | ({"budget": spec.budget.label} if spec.budget else {})


def _subject(spec: RunSpec) -> str:
    return spec.sampler.name if spec.sampler else "full annotation"


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)
