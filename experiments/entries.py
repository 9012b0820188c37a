"""What MLflow is told about a run: names, parameters, tags and metrics, as plain data."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from decomp.experiments.comparison import Comparison
from decomp.experiments.figures import GREY, style_of
from decomp.platform.records import CycleRecord, Timing
from decomp.platform.spec import RunSpec, flatten
from decomp.platform.store import CycleFolder, RunStore

KEY, GROUP = "decomp.key", "decomp.group"
"""Tags by which runs are found again: key of a run, `group_key` of a parent."""

MIRRORED, DIGEST, FIGURE = "decomp.mirrored", "decomp.digest", "decomp.figure"
"""Tags that say what is logged already: number of cycles of a run, content of a summary, content of its figure."""


@dataclass(frozen=True)
class Point:
    """One value of a metric.

    Attributes:
        key: the metric's name.
        value: a finite number.
        timestamp: when the cycle was committed, in milliseconds; MLflow takes the same point twice for one.
        step: the cycle.
    """

    key: str
    value: float
    timestamp: int
    step: int


def run_name(spec: RunSpec) -> str:
    """Name of a run, e.g. ``decomp seed 0 fold 0``."""
    return f"{_subject(spec)} seed {spec.seed} fold {spec.fold}"


def group_name(spec: RunSpec) -> str:
    """Name of what its repeats have in common, e.g. ``decomp 10x12-16x16``."""
    return f"{_subject(spec)} {spec.budget.label}" if spec.budget else _subject(spec)


def group_key(spec: RunSpec) -> str:
    """Equal for runs that differ in seed and fold only."""
    return replace(spec, seed=0, fold=0).key


def parameters(identity: Mapping[str, Any]) -> dict[str, str]:
    """Flat parameters of a nested identity, e.g. ``learner.options.iterations``."""
    return {_allowed(key): str(value) for key, value in flatten(identity).items() if value is not None}


def group_tags(spec: RunSpec) -> dict[str, str]:
    """Tags of a parent run."""
    return {
        GROUP: group_key(spec),
        "kind": spec.kind,
        "sampler": spec.sampler.name if spec.sampler else "",
        "budget": spec.budget.label if spec.budget else "",
        "dataset_fingerprint": spec.fingerprint,
        "mlflow.source.name": "decomp",
        "mlflow.runColor": style_of(spec.sampler.name).colour if spec.sampler else GREY,
    }


def run_tags(spec: RunSpec) -> dict[str, str]:
    """Tags of a child run."""
    tags = {name: value for name, value in group_tags(spec).items() if name != GROUP}
    return tags | {KEY: spec.key, "seed": str(spec.seed), "fold": str(spec.fold)}


def cycle_tags(run: RunStore, folder: CycleFolder) -> dict[str, str]:
    """Tags that a committed cycle adds: which code computed it, and the first cycle, shared by all samplers."""
    record, timing = folder.record, folder.timing
    tags = {MIRRORED: str(record.cycle), "decomp_version": timing.version}
    if timing.commit:
        tags |= {"git_commit": timing.commit, "mlflow.source.git.commit": timing.commit}
    if run.spec.kind == "run" and record.cycle == 1:
        tags |= {"first_cycle_key": run.spec.first.key, "first_cycle_checkpoint_sha256": record.checkpoint_sha256}
    return tags


def cycle_points(record: CycleRecord, timing: Timing, classes: Sequence[str]) -> list[Point]:
    """Metrics of a cycle, without the undefined ones.

    Test metrics by their names, ``iou/CLASS`` and the like per class, ``annotated_*`` over the whole ledger (``ppm``:
    of the training pixels), ``share/CLASS`` of the annotated pixels, ``delta/CLASS`` and ``w/CLASS`` that
    this cycle's selection used (Eq. 1 and 2), ``seconds/PHASE``.
    """
    names = class_keys(classes)
    key_of = dict(zip(classes, names, strict=True))
    annotated = record.annotated
    values: dict[str, float | None] = {_allowed(name): value for name, value in record.metrics.items()}
    for metric, per_class in record.class_metrics.items():
        for name, value in per_class.items():  # a class, or a nested set of classes
            values[f"{_allowed(metric)}/{key_of.get(name) or class_keys([name])[0]}"] = value
    values |= {
        "annotated_ppm": 1e6 * annotated.share,
        "annotated_images_ppm": 1e6 * annotated.image_share,
        "annotated_images": annotated.images,
        "annotated_regions": annotated.regions,
        "annotated_pixels": annotated.pixels,
    }
    labelled = sum(annotated.class_pixels)
    if labelled:
        shares = [pixels / labelled for pixels in annotated.class_pixels]
        values |= {f"share/{name}": share for name, share in zip(names, shares, strict=True)}
    for prefix, weights in (("delta", record.class_confidence), ("w", record.class_weights)):
        if weights is not None:
            values |= {f"{prefix}/{name}": value for name, value in zip(names, weights, strict=True)}
    values |= {f"seconds/{_allowed(phase)}": seconds for phase, seconds in timing.phases.items()}
    return [
        Point(key, float(value), timing.committed_at, record.cycle)
        for key, value in values.items()
        if value is not None and math.isfinite(value)
    ]


def mean_points(runs: Sequence[Sequence[Point]], spread_of: Iterable[str]) -> list[Point]:
    """Mean over runs of every metric and step that all of them have, at the time of the last of them.

    Args:
        runs: points of each run; at least one run.
        spread_of: metrics whose sample standard deviation is added as ``METRIC_sd``, for two runs or more.
    """
    tables = [{(point.key, point.step): point for point in points} for points in runs]
    with_spread = set(spread_of)
    found = []
    for key, step in tables[0]:
        if not all((key, step) in table for table in tables):
            continue
        points = [table[key, step] for table in tables]
        time, mean = max(point.timestamp for point in points), sum(point.value for point in points) / len(points)
        found.append(Point(key, mean, time, step))
        if key in with_spread and len(points) > 1:
            variance = sum((point.value - mean) ** 2 for point in points) / (len(points) - 1)
            found.append(Point(f"{key}_sd", math.sqrt(variance), time, step))
    return found


def summary_points(comparison: Comparison, timestamp: int) -> list[Point]:
    """Means of the final score, the area under the curve and the annotation needed (ppm), per budget and sampler."""
    found = {}
    for budget in comparison.budgets:
        for result in budget.samplers:
            name = _allowed(f"{result.sampler} {budget.budget}")
            needed = result.needed.share if result.needed else None
            found[f"summary/final score {name}"] = result.final.mean if result.final else None
            found[f"summary/area under curve {name}"] = result.area.mean if result.area else None
            found[f"summary/annotation needed ppm {name}"] = 1e6 * needed.mean if needed else None
    found["summary/full annotation"] = comparison.reference.mean if comparison.reference else None
    return [Point(key, value, timestamp, 0) for key, value in found.items() if value is not None]


def class_keys(classes: Sequence[str]) -> list[str]:
    """Class names as MLflow accepts them in a metric's name; the class's number is added where two become equal."""
    names = [re.sub(r"[^\w -]", "_", name) for name in classes]
    return [f"{name}_{c}" if names.count(name) > 1 else name for c, name in enumerate(names)]


def _subject(spec: RunSpec) -> str:
    return spec.sampler.name if spec.sampler else "full annotation"


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name)
