"""Whether the splits of a data set can be learned from and scored, and whether its images can be written down."""

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from decomp.platform.datasets.base import IGNORE, Dataset, Split

USES: dict[Split, str] = {"train": "annotate", "test": "score", "validation": "choose the model by"}


def unusable(dataset: Dataset, folds: Iterable[int]) -> list[str]:
    """A sentence for every split that has no labelled pixel or, except for validation, no images; where people label
    the pool, the test split may be empty. Another one for images whose names are no text, as some systems allow.

    Labels are read until a labelled pixel is found, usually in the first image of a split.

    Args:
        dataset: a data set without damage.
        folds: the folds to check.
    """

    @functools.cache
    def labelled(image: str, wanted: tuple[int, ...]) -> bool:
        labels = dataset.labels(image)
        return bool(np.isin(labels, wanted).any() if wanted else (labels != IGNORE).any())

    def told() -> Iterator[str]:
        for fold in folds:
            where = f" of fold {fold}" if dataset.folds > 1 else ""
            for split, use in USES.items():
                images, scored = dataset.ids(split, fold), dataset.scored if split == "test" else {}
                wanted = tuple(sorted({label for labels in scored.values() for label in labels}))
                if not dataset.labelled and (split == "train" if images else split == "test"):
                    continue
                if any(labelled(image, wanted) for image in images):
                    continue
                if images:
                    of = f" of {', '.join(scored)}" if scored else ""
                    lacks, mend = f"no labelled pixel{of}", "label its images, or take others"
                elif split == "validation":
                    continue
                else:
                    lacks, mend = "no images", "add some"
                yield f"dataset: the {split} split{where} has {lacks}, so there is nothing to {use}; {mend}."

    return [*_nameless({image for fold in folds for split in USES for image in dataset.ids(split, fold)}), *told()]


def _nameless(images: Iterable[str]) -> Iterator[str]:
    nameless = sorted(image for image in images if image != image.encode(errors="replace").decode())
    if nameless:
        many = f", and so are those of {len(nameless) - 1} more" if nameless[1:] else ""
        yield f"dataset: the name of image {nameless[0]!r} is no text in UTF-8{many}; rename the files."
