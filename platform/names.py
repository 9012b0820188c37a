"""Names: the paper's samplers, pairs of selectors named after them, and what a name may consist of."""

import re

SAMPLERS = {
    "rand": ("random", "random"),
    "uncert": ("uncertainty", "uncertainty"),
    "divers-cluster": ("uncertainty", "cluster"),
    "divers-core-set": ("uncertainty", "core-set"),
    "badge": ("uncertainty", "badge"),
    "decomp": ("decomposition", "decomposition"),
}
"""Samplers of the paper by their usual names: image selector, region selector."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names become folders and MLflow names."""


def pair_name(images: str, regions: str) -> str:
    """Name of a pair of selectors: the sampler's own if it is one of the paper's, else e.g. ``uncert_decomp``."""
    for name, pair in SAMPLERS.items():
        if pair == (images, regions):
            return name
    by_image = {pair[0]: name for name, pair in SAMPLERS.items() if name in ("rand", "uncert", "decomp")}
    by_region = {pair[1]: name for name, pair in SAMPLERS.items()}
    return f"{by_image.get(images, images)}_{by_region.get(regions, regions)}"


def check_name(name: str) -> str:
    """The name itself; `ValueError` if it does not match `NAME`."""
    if not NAME.fullmatch(name):
        raise ValueError("use letters, digits, '.', '_' and '-' only, beginning with a letter or digit")
    return name
