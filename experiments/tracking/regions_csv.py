"""The regions of a cycle as a table for annotators, who open the original images."""

import csv
import io
from collections.abc import Iterable

from decomp.experiments.report.tables import Cell, inert
from decomp.platform.datasets.base import Dataset
from decomp.platform.ledger import Annotation


def regions_table(dataset: Dataset, annotations: Iterable[Annotation]) -> str:
    """Where to annotate, as CSV with one row per region, in order of choice.

    Start and size are in pixels of the original image (`Dataset.original`), one column per axis; an irregular region
    has those of its bounding box.

    Args:
        dataset: its images.
        annotations: the regions.
    """
    rows = []
    for annotation in annotations:
        region = dataset.original(annotation.region)
        row: dict[str, Cell] = {"image": inert(region.image), "cycle": annotation.cycle, "rank": annotation.rank}
        drawn = annotation.drawn_class
        row["class_drawn"] = "" if drawn is None else inert(dataset.classes[drawn])
        for name, extents in (("start", region.start), ("size", region.size)):
            row |= {f"{name}_{axis}": extent for axis, extent in enumerate(extents)}
        rows.append(row)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["image"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
