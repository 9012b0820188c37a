"""Data sets: `base.Dataset` is the contract; each module holds one data set."""

from decomp.platform.datasets.base import IGNORE, Dataset, Split

DATASETS = {
    "digits": "decomp.platform.datasets.synthetic.digits:Digits",
    "slides": "decomp.platform.datasets.synthetic.slides:Slides",
    "brain": "decomp.platform.datasets.brain:Brain",
    "brain-3d": "decomp.platform.datasets.brain_volumes:BrainVolumes",
    "bracs": "decomp.platform.datasets.bracs:Bracs",
    "cityscapes": "decomp.platform.datasets.cityscapes:Cityscapes",
    "folder": "decomp.platform.datasets.folder:Folder",
    "voc": "decomp.platform.datasets.voc:Voc",
    "coco": "decomp.platform.datasets.coco:Coco",
    "kits23": "decomp.platform.datasets.kits:Kits23",
    "nnunet": "decomp.platform.datasets.nnunet:NnUNetRaw",
    "phantom": "decomp.platform.datasets.synthetic.phantom:Phantom",
}

__all__ = ["DATASETS", "IGNORE", "Dataset", "Split"]
