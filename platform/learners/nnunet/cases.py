"""The annotated volumes as nnU-Net's data loader reads them."""

from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetBaseDataset

from decomp.platform.datasets.base import IGNORE
from decomp.platform.learners.nnunet.prepared import PreparedVolumes
from decomp.platform.learners.nnunet.resampling import stored
from decomp.platform.learners.training.annotated import revealed
from decomp.platform.ledger import Ledger


class AnnotatedCases(nnUNetBaseDataset):  # type: ignore[misc]  # untyped
    """The volumes that have annotated regions: images from disk, labels in memory, `Heads.ignore` elsewhere.

    It can be pickled, for the processes that make batches, where they are not forked.

    Args:
        dataset: the prepared volumes.
        ledger: the annotated regions; no other labels are kept.
    """

    def __init__(self, dataset: PreparedVolumes, ledger: Ledger) -> None:
        super().__init__("", sorted(ledger.by_image))
        heads = dataset.heads
        # The last one is nnU-Net's name for "annotated": with it, every patch has annotated voxels.
        sampled = [*heads.sets, (-1, *range(heads.ignore))]
        dataset.complete(self.identifiers)
        self._cases: dict[str, tuple[Path, bytes, dict[str, Any]]] = {}
        self._open: dict[str, tuple[Any, Any]] = {}
        for image in self.identifiers:
            known = revealed(dataset, image, ledger.regions(image))
            labels = np.where(known == IGNORE, heads.ignore, known).astype(np.int16 if heads.ignore > 127 else np.int8)[
                None
            ]
            places = DefaultPreprocessor._sample_foreground_locations(labels, sampled, verbose=False)
            intensities, truth = dataset.files(image)
            blocks = stored(truth)
            # Compressed, because labels are nearly constant, and all volumes' are kept.
            compressed = blosc2.asarray(labels, chunks=blocks.chunks, blocks=blocks.blocks, cparams={"nthreads": 1})
            self._cases[image] = intensities, compressed.to_cframe(), {"class_locations": places}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}  # every process opens the arrays for itself

    def load_case(self, identifier: str) -> tuple[Any, Any, None, dict[str, Any]]:
        """The image, its labels, None for a previous stage, and where each label occurs."""
        file, labels, properties = self._cases[identifier]
        if identifier not in self._open:
            self._open[identifier] = stored(file), blosc2.ndarray_from_cframe(labels)
        return *self._open[identifier], None, properties

    @staticmethod
    def save_case(*args: Any) -> None:
        """Not needed."""
        raise NotImplementedError

    @staticmethod
    def get_identifiers(folder: str) -> list[str]:
        """Not needed."""
        raise NotImplementedError
