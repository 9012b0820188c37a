"""Everything that a class of your own imports, be it a data set, learner or sampler; `__all__` is the public surface.

- Data sets: `Dataset`, the contract; `Volumes` and `NiftiVolumes`, contracts of volumes; `Split`; `IGNORE`, the
  label of pixels without a class; `RoiGraph`, an ROI of a slide.
- Learners: `Learner` and `Predictor`, the contracts; `Training`, what a learner learns from, with `Processes`
  and the `Ledger` of annotated regions, each an `Annotation`; `revealed`, their labels as a map; `reproducible`, a
  context in which torch computes the same every time.
- Predictions: `ForwardPredictor`, a predictor that gives logits and can predict in several `Passes`; `Wanted` says what
  is asked for; `decode` makes a `Prediction` from logits and a `Bottleneck`; `Measure` and `UncertaintyMap` describe
  its uncertainty; a `MapReader` makes further maps, an
  `OwnMeasure` is one of yours.
- Samplers: `ImageSelector`, `JointImageSelector`, `RegionSelector` and `JointRegionSelector`, the contracts; `Need`,
  what they declare; `PoolView`, `ImageView` and `CandidateRegions`, what they are shown; `Places` and `Peaks`, with
  which they find regions; `Choice`, what they answer; `UncertaintyRegions`, with which joint selectors find candidate
  regions.
- Partitions: `Partition`, the contract of irregular regions.
- Annotation formats: `AnnotationFormat`, the contract; `Query` and `Answer`, what passes through it; `Classes`;
  `checked_labels`, which checks labels that come back.
- Options: `NotIdentity` and `ByContent`, with which an annotation says what part an option plays in a run's identity.
- For all: `Region`; `stream`, keyed random numbers; `UserError`, a mistake in what the user wrote.

`decomp.platform.testing` checks what you wrote. Other modules may change without notice.
"""

import importlib
from typing import TYPE_CHECKING, Any

from decomp.platform.annotation.formats import AnnotationFormat, checked_labels
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.base import IGNORE, Dataset, Split
from decomp.platform.datasets.formats.graphs import RoiGraph
from decomp.platform.errors import UserError
from decomp.platform.learners.base import Learner, Predictor, Processes, Training
from decomp.platform.learners.training.annotated import revealed
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.marks import ByContent, NotIdentity
from decomp.platform.measures import OwnMeasure
from decomp.platform.partitions import Partition
from decomp.platform.passes import Passes
from decomp.platform.predictions import MapReader, Measure, Prediction, UncertaintyMap, Wanted
from decomp.platform.randomness import stream
from decomp.platform.regions import Region
from decomp.platform.samplers.base import (
    CandidateRegions,
    Choice,
    ImageSelector,
    ImageView,
    JointImageSelector,
    JointRegionSelector,
    PoolView,
    RegionSelector,
)
from decomp.platform.samplers.needs import Need
from decomp.platform.samplers.places import Peaks, Places
from decomp.platform.samplers.uncertainty import UncertaintyRegions

if TYPE_CHECKING:
    from decomp.platform.datasets.volumes import NiftiVolumes, Volumes
    from decomp.platform.learners.inference.bottleneck import Bottleneck
    from decomp.platform.learners.inference.decode import decode
    from decomp.platform.learners.inference.passes import ForwardPredictor
    from decomp.platform.learners.reproducible import reproducible

__all__ = [
    "IGNORE",
    "Annotation",
    "AnnotationFormat",
    "Answer",
    "Bottleneck",
    "ByContent",
    "CandidateRegions",
    "Choice",
    "Classes",
    "Dataset",
    "ForwardPredictor",
    "ImageSelector",
    "ImageView",
    "JointImageSelector",
    "JointRegionSelector",
    "Learner",
    "Ledger",
    "MapReader",
    "Measure",
    "Need",
    "NiftiVolumes",
    "NotIdentity",
    "OwnMeasure",
    "Partition",
    "Passes",
    "Peaks",
    "Places",
    "PoolView",
    "Prediction",
    "Predictor",
    "Processes",
    "Query",
    "Region",
    "RegionSelector",
    "RoiGraph",
    "Split",
    "Training",
    "UncertaintyMap",
    "UncertaintyRegions",
    "UserError",
    "Volumes",
    "Wanted",
    "checked_labels",
    "decode",
    "reproducible",
    "revealed",
    "stream",
]

SLOW = {
    "Bottleneck": "learners.inference.bottleneck",
    "ForwardPredictor": "learners.inference.passes",
    "NiftiVolumes": "datasets.volumes",
    "Volumes": "datasets.volumes",
    "decode": "learners.inference.decode",
    "reproducible": "learners.reproducible",
}
"""Modules that import torch or readers of volumes, which a sampler or a data set of images need not wait for."""


def __getattr__(name: str) -> Any:
    if name not in SLOW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"decomp.platform.{SLOW[name]}"), name)
