"""The ledger: every annotated region and why it was chosen; the only source of truth for what is labelled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from decomp.platform.regions import Region

SCHEMA = pa.schema(
    [
        pa.field("cycle", pa.int32(), nullable=False),
        pa.field("image", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("start", pa.list_(pa.int32()), nullable=False),
        pa.field("size", pa.list_(pa.int32()), nullable=False),
        pa.field("mask", pa.binary()),
        pa.field("drawn_class", pa.int32()),
        pa.field("score", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Annotation:
    """One row of the ledger.

    Attributes:
        region: what was annotated.
        cycle: the cycle, from 1.
        rank: order of choice within the image and cycle, from 0.
        drawn_class: the class that DECOMP drew for this region; None for other samplers.
        score: what the region was chosen for: pixels of the drawn class (DECOMP) or mean uncertainty (UNCERT,
            DIVERS, BADGE); None for random regions.
    """

    region: Region
    cycle: int
    rank: int
    drawn_class: int | None = None
    score: float | None = None


@dataclass(frozen=True)
class Ledger:
    """Annotated regions in order of annotation; immutable.

    Attributes:
        table: Arrow table of `SCHEMA`, a row per region.
    """

    table: pa.Table = field(default_factory=SCHEMA.empty_table)

    @classmethod
    def of(cls, annotations: Iterable[Annotation]) -> "Ledger":
        """Build a ledger from its rows."""
        rows = [
            {
                "cycle": a.cycle,
                "image": a.region.image,
                "rank": a.rank,
                "start": list(a.region.start),
                "size": list(a.region.size),
                "mask": a.region.mask,
                "drawn_class": a.drawn_class,
                "score": a.score,
            }
            for a in annotations
        ]
        return cls(pa.Table.from_pylist(rows, schema=SCHEMA))

    @classmethod
    def whole(cls, shapes: Mapping[str, Sequence[int]]) -> "Ledger":
        """The full annotation: every image as one region; `shapes` maps image ids to spatial shapes."""
        return cls.of(
            Annotation(Region(image, (0,) * len(shape), tuple(shape)), cycle=1, rank=0)
            for image, shape in shapes.items()
        )

    def extend(self, other: "Ledger") -> "Ledger":
        """This ledger followed by the rows of `other`."""
        return Ledger(pa.concat_tables([self.table, other.table]).combine_chunks())

    def of_images(self, other: "Ledger") -> "Ledger":
        """The rows whose image occurs in `other`."""
        return Ledger(self.table.filter(pc.is_in(self.table["image"], other.table["image"])))

    def annotations(self) -> list[Annotation]:
        """All rows, in order."""
        return [
            Annotation(
                Region(row["image"], tuple(row["start"]), tuple(row["size"]), row["mask"]),
                row["cycle"],
                row["rank"],
                row["drawn_class"],
                row["score"],
            )
            for row in self.table.to_pylist()
        ]

    @cached_property
    def by_image(self) -> Mapping[str, tuple[Region, ...]]:
        """Annotated regions of each image that has any, in order of annotation."""
        regions: dict[str, list[Region]] = {}
        for annotation in self.annotations():
            regions.setdefault(annotation.region.image, []).append(annotation.region)
        return {image: tuple(of_image) for image, of_image in regions.items()}

    def regions(self, image: str) -> tuple[Region, ...]:
        """Annotated regions of one image, in order of annotation."""
        return self.by_image.get(image, ())

    def __len__(self) -> int:
        return int(self.table.num_rows)
