"""What region selectors see of an image on which all places are alike."""

import numpy as np

from decomp.platform.predictions import LEVELS, UncertaintyMap
from decomp.platform.samplers import ImageView
from decomp.platform.samplers.tiny import N_CLASSES, TinyMaps


def uniform_view(image, rng):
    """Predictions that are the same everywhere, with random class weights."""
    labels = np.zeros(image.shape, np.uint8)
    return ImageView(
        image.places(),
        labels,
        UncertaintyMap(np.full(image.shape, 9, np.uint16), 1 / LEVELS),
        rng.dirichlet(np.ones(N_CLASSES)),
        np.bincount(labels.ravel(), minlength=N_CLASSES),
        np.ones(image.shape, np.float32) if len(image.shape) == 1 else None,
        TinyMaps(np.full(image.shape, 9, np.uint16), labels, N_CLASSES),
        lambda: labels,
    )
