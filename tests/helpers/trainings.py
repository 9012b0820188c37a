"""Trainings of a tiny learner on a tiny data set, and what is told from the bytes of their checkpoints."""

import hashlib
import runpy
from pathlib import Path

from decomp.platform.learners import Training
from decomp.platform.randomness import stream


def trained(learner, dataset, ledger, file, seed=0, **options):
    """The bytes of the checkpoint that a training writes."""
    learner.fit(dataset, Training(ledger, stream(seed, "training"), **options), file)
    return file.read_bytes()


def scrambled(dataset, ledger):
    """The data set with nonsense for the labels outside a ledger's regions; no secret is a validation split of pixels.

    It is of no use where the images are made from the labels.
    """

    class Scrambled(type(dataset)):
        def labels(self, image):
            truth = super().labels(image)
            if self.task == "segmentation" and image.startswith("validation"):
                return truth
            labels = stream(1, "nonsense", image=image).integers(0, 256, truth.shape).astype(truth.dtype)
            for region in ledger.regions(image):
                region.mark(labels, region.of(truth))
            return labels

    return Scrambled(**vars(dataset))


def digests(folder, *modules):
    """Of the checkpoints that the functions `fitted` of test modules write below a new folder."""
    folder = Path(folder)
    folder.mkdir()
    contents = [runpy.run_path(str(module))["fitted"](folder / Path(module).stem) for module in modules]
    return [hashlib.sha256(content).hexdigest() for content in contents]
