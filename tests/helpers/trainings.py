"""Trainings of a tiny learner on a tiny data set, and what is told from the bytes of their checkpoints."""

import hashlib
import subprocess
import sys
from pathlib import Path

from decomp.platform.learners import Training
from decomp.platform.randomness import stream

PROGRAM = """
import hashlib, runpy, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
print(hashlib.sha256(runpy.run_path(sys.argv[1])["fitted"](Path(sys.argv[2]))).hexdigest())
"""


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


def same_bytes_in_another_process(module, folder, content):
    """Whether the function `fitted` of a test module, given a file, returns this content in another process too."""
    command = [sys.executable, "-c", PROGRAM, module, str(folder / "elsewhere"), str(Path(__file__).parents[1])]
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return digest == hashlib.sha256(content).hexdigest()
