"""Names: the paper's samplers, pairs of selectors named after them, and what a name may consist of."""

import re
from collections.abc import Mapping
from typing import Any

SAMPLERS = {
    "rand": ("random", "random"),
    "uncert": ("uncertainty", "uncertainty"),
    "divers-cluster": ("uncertainty", "cluster"),
    "divers-core-set": ("uncertainty", "core-set"),
    "badge": ("uncertainty", "badge"),
    "decomp": ("decomposition", "decomposition"),
}
"""Samplers of the paper by their usual names: image selector, region selector."""

_MUTUAL_INFORMATION, _ENTROPY = {"uncertainty": "mutual_information"}, {"uncertainty": "entropy"}

RIVALS: Mapping[str, Mapping[str, Any]] = {
    "bald": {"images": "all", "regions": "uncertainty", **_MUTUAL_INFORMATION},
    "expected-entropy": {"images": "all", "regions": "uncertainty", "uncertainty": "expected_entropy"},
    "predictive-entropy": {"images": "all", "regions": "uncertainty", **_ENTROPY},
    "power-bald": {"images": "all", "regions": "power", **_MUTUAL_INFORMATION},
    "power-pe": {"images": "all", "regions": "power", **_ENTROPY},
    "softrank-bald": {"images": "all", "regions": "softrank", **_MUTUAL_INFORMATION},
    "clasp-pe": {"images": "all", "regions": "clasp"},
    "clasp-pe-33": {"images": "all", "regions": {"name": "clasp", "share": 0.33}},
    "rand-fg-33": {"images": "all", "regions": {"name": "foreground", "share": 1 / 3}},
    "rand-fg-66": {"images": "all", "regions": {"name": "foreground", "share": 2 / 3}},
    "rand-class": {"images": "all", "regions": "class"},
    "rand-pred-fg": {"images": "all", "regions": {"name": "predicted-foreground", "share": 2 / 3}},
    "rand-pool": {"images": "all", "regions": "random"},
    "typiclust": {"images": "uncertainty", "regions": "typiclust"},
    "probcover": {"images": "uncertainty", "regions": "probcover"},
}
"""Rivals beyond the paper by their usual names (Sec. 13): what each stands for in an experiment file."""

SOURCES: Mapping[str, str] = {
    "uncert": "Lewis and Gale, SIGIR 1994",
    "divers-cluster": "Qiu et al., 2025",
    "divers-core-set": "Sener and Savarese, ICLR 2018",
    "badge": "Ash et al., ICLR 2020",
    "decomp": "Qiu et al., 2025",
    "bald": "Houlsby et al., 2011; Gal et al., ICML 2017",
    "expected-entropy": "Gal et al., ICML 2017",
    "predictive-entropy": "Lewis and Gale, SIGIR 1994",
    "power-bald": "Kirsch et al., TMLR 2023",
    "power-pe": "Kirsch et al., TMLR 2023",
    "softrank-bald": "Kirsch et al., TMLR 2023",
    "clasp-pe": "Lüth et al., TMLR 2026",
    "clasp-pe-33": "Lüth et al., TMLR 2026",
    "rand-fg-33": "Lüth et al., TMLR 2025",
    "rand-fg-66": "Lüth et al., TMLR 2025",
    "rand-class": "Lüth et al., TMLR 2025",
    "rand-pred-fg": "this project, after Lüth et al., TMLR 2025",
    "typiclust": "Hacohen et al., ICML 2022",
    "probcover": "Yehuda et al., NeurIPS 2022",
}
"""Where samplers come from; those at random come from nowhere."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
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
        raise ValueError("use up to 200 letters, digits, '.', '_' and '-' only, beginning with a letter or digit")
    return name
