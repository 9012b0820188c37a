"""Results as data frames: one call for each table, of experiment files and of archives.

    from decomp.experiments.results import open_results

    results = open_results("experiments/digits.yaml", "published.zip", storage="runs")
    results.cycles()          # a row per repeat and cycle: what was annotated, test scores
    results.class_scores()    # the same by class
    results.regions()         # every annotated region
    results.timings()         # seconds of every phase
    results.verdicts()        # every pair of samplers over all these experiments

Nothing is computed but the verdicts; what is committed is read and checked when it is asked for. Runs that are not
finished are there as far as they have come.
"""

from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import pandas as pd

from decomp.experiments.report.long_tables import class_table, cycle_table, region_table, timing_table
from decomp.experiments.report.tables import Table
from decomp.experiments.sources import Source, names_of, open_source
from decomp.experiments.verdict.pooled import pool
from decomp.experiments.verdict.tables import pair_table


@dataclass(frozen=True)
class Results:
    """What experiments have committed.

    The columns ``experiment``, ``budget``, ``sampler``, ``seed``, ``fold`` and ``cycle`` say in every table but the
    verdicts what a row is about. A full-annotation reference has the sampler ``full annotation`` and no budget. Cycle
    1, which the samplers of a seed share, stands in the rows of each of them. Undefined values are missing (NaN).

    Attributes:
        sources: the experiments.
    """

    sources: tuple[Source, ...]

    def cycles(self) -> pd.DataFrame:
        """What is annotated after every cycle, by every measure (see `report.axes`), and the test metrics.

        Shares are in [0, 1]; ``images`` and ``pixels`` (ROIs), ``openings``, ``regions`` and ``clicks`` are counts;
        ``hours`` is an expert's time after `annotation_seconds`; ``imported_from`` names the archive of imported runs.
        """
        return self._joined(lambda source: _frame(cycle_table(source.histories, source.axes)))

    def class_scores(self) -> pd.DataFrame:
        """Of every class and cycle: test scores, annotated pixels, and the confidence and weight of the selection."""
        return self._joined(lambda source: _frame(class_table(source.histories, source.description.classes)))

    def timings(self) -> pd.DataFrame:
        """Seconds of every phase of a cycle, when it was committed (in ms since the epoch), and by which code."""
        return self._joined(lambda source: _frame(timing_table(source.histories)))

    def regions(self) -> pd.DataFrame:
        """Every annotated region: image, order of choice, start and size in pixels, the class drawn for it, its score.

        Full-annotation references, whose regions are whole images, are left out. ``mask`` holds the pixels of an
        irregular region, see `decomp.platform.regions`.
        """
        return self._joined(lambda source: region_table(source.runs, source.description.classes).to_pandas())

    def verdicts(self) -> pd.DataFrame:
        """Every tested pair of samplers over all experiments together, as `decomp compare` shows it."""
        return _frame(pair_table(pool(self.sources)))

    def _joined(self, frame_of: Callable[[Source], pd.DataFrame]) -> pd.DataFrame:
        """The frames of all experiments below each other, with the experiment as first column."""
        frames = [frame_of(source) for source in self.sources]
        for frame, name in zip(frames, names_of(self.sources), strict=True):
            frame.insert(0, "experiment", name)
        filled = [frame for frame in frames if len(frame)]
        return pd.concat(filled, ignore_index=True) if filled else frames[0]


def open_results(*files: str | PathLike[str], **overrides: object) -> Results:
    """The results of experiment files and archives.

    Args:
        files: at least one experiment file (YAML) or archive of `decomp export`.
        overrides: values that replace those of the experiment files, e.g. ``storage="runs"``; archives need none.

    Raises:
        UserError: where a file, or what it names, is not in order.
    """
    texts = [f"{key}={value}" for key, value in overrides.items()]
    return Results(tuple(open_source(Path(file), texts) for file in files))


def _frame(table: Table) -> pd.DataFrame:
    return pd.DataFrame(list(table.rows), columns=list(table.heads))
