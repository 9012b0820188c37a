"""Foreground efficiency: how fast the score rises with the annotated foreground (Sec. 15 of the method notes).

``score(x) = c - a exp(-b (x - x_1))`` with x the annotated foreground pixels (of every class but the background), x_1
those of the first cycle, c the full-annotation score and a = c - the run's own score of the first cycle; b is fitted
for every sampler by least squares over the cycles of all its finished runs that begin below c.

Reference:
    Lueth et al., nnActive: A Framework for Evaluation of Active Learning in 3D Biomedical Segmentation, TMLR 2025.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import stdtrit

from decomp.experiments.report.run_history import RunHistory
from decomp.experiments.report.statistics import LEVEL
from decomp.experiments.verdict.pooled import Compared

Floats = npt.NDArray[np.float64]

STEEPEST = 12.0
"""b is sought within exp(-+12) of the inverse of the mean amount of foreground."""


@dataclass(frozen=True)
class Curve:
    """A learning curve over foreground, from the second cycle on.

    Attributes:
        added: annotated foreground pixels beyond those of the first cycle, shape (T,).
        scores: test metric, shape (T,).
        gap: full-annotation score minus the score of the first cycle, above 0.
        full: full-annotation score.
    """

    added: Floats
    scores: Floats
    gap: float
    full: float


@dataclass(frozen=True)
class Efficiency:
    """Foreground efficiency of a sampler.

    Attributes:
        sampler: its name.
        repeats: independent blocks whose runs have part in it.
        b: per foreground pixel (ROI); None where no b fits, since the score does not rise.
        interval: of b, from leaving out one block after the other, on the scale of log b; None for fewer than 3.
    """

    sampler: str
    repeats: int
    b: float | None
    interval: tuple[float, float] | None

    @property
    def halving(self) -> float | None:
        """Foreground pixels that halve the distance to full annotation, ln 2 / b."""
        return math.log(2) / self.b if self.b else None


def efficiencies(experiment: Compared) -> tuple[Efficiency, ...]:
    """Foreground efficiency of every sampler of an experiment, in order of their first run."""
    description, full = experiment.source.description, experiment.full
    if full is None:
        return ()
    background = [n for n, name in enumerate(description.classes) if name == description.background]
    design = description.design
    by_sampler: dict[str, dict[tuple[int, int], list[Curve]]] = {}
    for run in experiment.source.runs:
        curve = _curve(run, description.metric, background, full)
        if curve is not None and run.spec.sampler is not None:
            blocks = by_sampler.setdefault(run.spec.sampler.name, {})
            blocks.setdefault(design.block(run.repeat), []).append(curve)
    return tuple(_efficiency(name, list(blocks.values())) for name, blocks in by_sampler.items())


def fit(curves: Sequence[Curve]) -> float | None:
    """The b that fits best; None where the best lies at an end of the range in which it is sought.

    Args:
        curves: at least one.
    """
    added = np.concatenate([curve.added for curve in curves])
    scores = np.concatenate([curve.full - curve.scores for curve in curves])
    gaps = np.concatenate([np.full(len(curve.added), curve.gap) for curve in curves])
    scale = float(added.mean())
    if scale <= 0:
        return None

    def loss(log_rate: float) -> float:
        return float(((scores - gaps * np.exp(-np.exp(log_rate) * added / scale)) ** 2).sum())

    grid = np.linspace(-STEEPEST, STEEPEST, 97)
    best = int(np.argmin([loss(value) for value in grid]))
    if best in (0, len(grid) - 1):
        return None
    found = minimize_scalar(loss, bounds=(grid[best - 1], grid[best + 1]), method="bounded", options={"xatol": 1e-9})
    return math.exp(float(found.x)) / scale


def _efficiency(sampler: str, blocks: Sequence[Sequence[Curve]]) -> Efficiency:
    b = fit([curve for block in blocks for curve in block])
    n = len(blocks)
    left_out = (
        [fit([curve for other in (*blocks[:k], *blocks[k + 1 :]) for curve in other]) for k in range(n)]
        if n > 2
        else []
    )
    logs = np.log([each for each in left_out if each is not None])
    if b is None or len(logs) < n or n < 3:
        return Efficiency(sampler, n, b, None)
    error = math.sqrt((n - 1) / n * float(((logs - logs.mean()) ** 2).sum()))
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * error
    return Efficiency(sampler, n, b, (b * math.exp(-half), b * math.exp(half)))


def _curve(run: RunHistory, metric: str, background: Sequence[int], full: float) -> Curve | None:
    """The curve of a finished run; None where it has no second cycle, or begins above full annotation."""
    records = run.records
    if not run.finished or len(records) < 2 or full <= records[0].metrics[metric]:
        return None
    foreground = np.array([[p for n, p in enumerate(r.annotated.class_pixels) if n not in background] for r in records])
    amounts = foreground.sum(axis=1).astype(float)
    scores = np.array([record.metrics[metric] for record in records])
    return Curve(amounts[1:] - amounts[0], scores[1:], full - float(scores[0]), full)
