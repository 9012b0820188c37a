"""Annotators who know the truth, and data for them."""

from pathlib import Path

import numpy as np
from helpers.layouts import picture, scene
from PIL import Image

from decomp.platform.annotation.crops import Slices
from decomp.platform.datasets.folder import Folder

CODES = {"ground": 0, "square": 1, "disc": 2}


class Scenes(Folder):
    """The same folder, as the toy learner reads it: one channel."""

    def image(self, image):
        return super().image(image)[..., :1].astype(np.float32) / 60


def write_scenes(root: Path, counts=(("train", 6), ("test", 3))) -> Path:
    """Grey pictures in the layout of the data set `folder`, with masks for all of them."""
    for split, count in counts:
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for number in range(count):
            labels = scene(number if split == "train" else 100 + number)
            Image.fromarray(np.repeat(picture(labels)[..., None], 3, 2)).save(
                root / split / "images" / f"s{number}.png"
            )
            Image.fromarray(labels).save(root / split / "masks" / f"s{number}.png")
    return root


def answer_folders(queries, truth, folder, only=None):
    """Put the true masks of queries into a folder of the format `folders`.

    Args:
        queries: the queries.
        truth: gives the labels of an image, in the pixels of its file.
        folder: the cycle's folder.
        only: the numbers of the queries that are answered; None for all.
    """
    for number, query in enumerate(queries):
        if only is not None and number not in only:
            continue
        slices = Slices.of(query).split(truth(query.image)[query.slices])
        for k, labels in enumerate(slices, start=1):
            name = query.id if len(slices) == 1 else f"{query.id}_{k:03d}"
            Image.fromarray(np.ascontiguousarray(labels)).save(folder / "masks" / f"{name}.png")
