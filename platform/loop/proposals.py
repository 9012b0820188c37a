"""Proposals: regions that shards choose in the selected images, and how the coordinator chooses among them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from decomp.platform.arrow import column_of, matrix_of
from decomp.platform.ledger import SCHEMA, Annotation, Ledger
from decomp.platform.samplers import CandidateRegions

FEATURES, RESIDUALS, PREDICTED = "features", "residuals", "predicted_class"


@dataclass(frozen=True)
class Proposals:
    """Regions with what a `JointRegionSelector` reads of them.

    Attributes:
        ledger: N regions, by image in order of selection, then in order of choice.
        features: shape (N, D), float32, or None; see `CandidateRegions`.
        residuals: shape (N, C), float32, or None; see `CandidateRegions`.
        predicted_class: shape (N,), int64, or None; see `CandidateRegions`.
        annotated: features of A annotated regions, shape (A, D), float32, or None; see `CandidateRegions`. They come
            with the answers to `Workers.predict`, from images that propose nothing too.
    """

    ledger: Ledger
    features: npt.NDArray[np.float32] | None = None
    residuals: npt.NDArray[np.float32] | None = None
    predicted_class: npt.NDArray[np.int64] | None = None
    annotated: npt.NDArray[np.float32] | None = None

    def to_arrow(self) -> pa.Table:
        """Rows of the ledger, with what is known of each as further columns."""
        table = self.ledger.table
        for name, matrix in ((FEATURES, self.features), (RESIDUALS, self.residuals)):
            if matrix is not None:
                table = table.append_column(name, column_of(np.asarray(matrix, np.float32)))
        if self.predicted_class is not None:
            table = table.append_column(PREDICTED, pa.array(self.predicted_class))
        return table

    @classmethod
    def from_arrow(cls, tables: Sequence[pa.Table], images: Sequence[str]) -> "Proposals":
        """Join answers given in any order; `images` is the order of selection."""
        table = pa.concat_tables(tables)
        place = {image: k for k, image in enumerate(images)}
        # Stable, so an image's regions stay in order of choice.
        order = np.argsort([place[image] for image in table["image"].to_pylist()], kind="stable")
        table = table.take(pa.array(order, pa.int64())).combine_chunks()
        features, residuals = (
            matrix_of(table[name].combine_chunks()) if name in table.column_names else None
            for name in (FEATURES, RESIDUALS)
        )
        predicted_class = table[PREDICTED].to_numpy() if PREDICTED in table.column_names else None
        return cls(Ledger(table.select(SCHEMA.names)), features, residuals, predicted_class)

    def candidates(self, background: int | None, cycle: int, n_region: int) -> CandidateRegions:
        """The candidate regions as a `JointRegionSelector` sees them."""
        numbers: dict[str, int] = {}
        image = [numbers.setdefault(name, len(numbers)) for name in self.ledger.table["image"].to_pylist()]
        return CandidateRegions(
            np.array(image, np.int64),
            self.scores,
            self.ledger.table["drawn_class"].fill_null(-1).to_numpy().astype(np.int64),
            self.features,
            self.residuals,
            self.predicted_class,
            self.annotated,
            background,
            cycle,
            n_region,
        )

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Score of each, shape (N,), float64; NaN for those without."""
        return np.asarray(self.ledger.table["score"].to_numpy(), np.float64)

    def best(self, n: int, rng: np.random.Generator) -> list[int]:
        """Numbers of the `n` regions of highest score, ties in seeded order; from all images in turn, in seeded order,
        where none has a score.
        """
        unscored = np.isnan(self.scores)
        if unscored.all():
            images = self.ledger.table["image"].to_pylist()
            turn = dict(zip(dict.fromkeys(images), rng.permutation(len(set(images))).tolist(), strict=True))
            order = np.lexsort(([turn[image] for image in images], self.ledger.table["rank"].to_numpy()))
        else:
            order = np.lexsort((rng.permutation(len(unscored)), np.where(unscored, np.inf, -self.scores)))
        return [int(number) for number in order[:n]]

    def rows(self, numbers: npt.NDArray[np.int64]) -> "Proposals":
        """Some of them, in the given order."""
        return Proposals(
            Ledger(self.ledger.table.take(pa.array(numbers))),
            None if self.features is None else self.features[numbers],
            None if self.residuals is None else self.residuals[numbers],
            None if self.predicted_class is None else self.predicted_class[numbers],
            self.annotated,
        )

    def take(self, chosen: Sequence[int], per_image: int | None) -> Ledger:
        """The chosen regions, by image and there in order of choice.

        Args:
            chosen: numbers of the chosen regions, in order of choice.
            per_image: how many an image may give at most, in which case those of highest score are kept; None for any
                number.
        """
        rows = self.ledger.annotations()
        by_image: dict[str, list[Annotation]] = {row.region.image: [] for row in rows}
        for k in chosen:
            by_image[rows[k].region.image].append(rows[k])
        if per_image is not None:
            for rows_of_image in by_image.values():
                # Candidates are in order of score, ties seeded, so their rank tells the better one.
                kept = sorted(row.rank for row in rows_of_image)[:per_image]
                rows_of_image[:] = [row for row in rows_of_image if row.rank in kept]
        return Ledger.of(
            Annotation(row.region, row.cycle, rank, row.drawn_class, row.score)
            for rows_of_image in by_image.values()
            for rank, row in enumerate(rows_of_image)
        )
