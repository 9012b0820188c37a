"""Data sets: `base.Dataset` is the contract; each module holds one data set."""

from decomp.platform.datasets.base import IGNORE, Dataset, Split

DATASETS = {
    "digits": "decomp.platform.datasets.digits:Digits",
    "slides": "decomp.platform.datasets.slides:Slides",
    "bracs": "decomp.platform.datasets.bracs:Bracs",
}

__all__ = ["DATASETS", "IGNORE", "Dataset", "Split"]
