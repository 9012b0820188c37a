"""Public data sets in nnU-Net's raw format, made small: their channels, labels, spacings and folders."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt

AXIAL = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Layout:
    """What ``dataset.json`` says, and how volumes look.

    Attributes:
        channels: names of the channels.
        labels: as in ``dataset.json``.
        order: ``regions_class_order``.
        spacing: millimetres along z, y and x.
        shape: voxels along z, y and x.
        test: number of cases in ``imagesTs``.
        skull: whether everything outside the body is exactly 0.
    """

    channels: tuple[str, ...]
    labels: dict[str, Any]
    order: list[int] = field(default_factory=list)
    spacing: tuple[float, float, float] = (2.0, 2.0, 2.0)
    shape: tuple[int, int, int] = (12, 24, 24)
    test: int = 0
    skull: bool = False

    @property
    def n_labels(self) -> int:
        """Greatest label but for the ignored one."""
        values = [value for name, value in self.labels.items() if name != "ignore"]
        return max(max(value) if isinstance(value, list) else value for value in values)


ORGANS = (
    *("spleen", "right kidney", "left kidney", "gall bladder", "esophagus", "liver", "stomach", "aorta", "postcava"),
    *("pancreas", "right adrenal gland", "left adrenal gland", "duodenum", "bladder", "prostate/uterus"),
)

LAYOUTS = {
    "hippocampus": Layout(("MRI",), {"background": 0, "Anterior": 1, "Posterior": 2}, spacing=(1.0, 1.0, 1.0)),
    "prostate": Layout(("T2", "ADC"), {"background": 0, "PZ": 1, "TZ": 2}, spacing=(3.6, 0.62, 0.62)),
    "amos": Layout(("CT",), {"background": 0, **{name: 1 + k for k, name in enumerate(ORGANS)}}, spacing=(5, 2, 2)),
    "acdc": Layout(
        ("cineMRI",),
        {"background": 0, "RV": 1, "MLV": 2, "LVC": 3},
        spacing=(10, 1.56, 1.56),
        shape=(8, 24, 24),
        test=1,
    ),
    "brats": Layout(
        ("T1", "T1ce", "T2", "Flair"),
        {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
        order=[1, 2, 3],
        spacing=(1, 1, 1),
        skull=True,
    ),
    "kits": Layout(("CT",), {"background": 0, "kidney": [1, 2, 3], "masses": [2, 3], "tumor": 2}, order=[1, 3, 2]),
    "liver": Layout(("CT",), {"background": 0, "liver": 1}, spacing=(5.0, 1.5, 1.5)),
}
"""By the name of the data set that each is like."""


def write_layout(root: Path, layout: Layout, cases: int = 4, **description: Any) -> Path:
    """Write a data set of `cases` training cases into ``Dataset001_Small`` and return this folder.

    Args:
        root: where the folder is made.
        layout: what is written.
        cases: number of training cases, ``case_0`` and so on.
        description: further keys of ``dataset.json``, or other values.
    """
    folder = root / "Dataset001_Small"
    folder.mkdir(parents=True)
    content = {
        "channel_names": {str(number): name for number, name in enumerate(layout.channels)},
        "labels": layout.labels,
        "numTraining": cases,
        "file_ending": ".nii.gz",
        **({"regions_class_order": layout.order} if layout.order else {}),
        **description,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    for number in range(cases + layout.test):
        part = "Tr" if number < cases else "Ts"
        intensities, labels = drawn(layout, number)
        for channel, voxels in enumerate(intensities):
            save(folder / f"images{part}" / f"case_{number}_{channel:04d}.nii.gz", voxels, layout.spacing)
        save(folder / f"labels{part}" / f"case_{number}.nii.gz", labels, layout.spacing)
    return folder


def drawn(layout: Layout, number: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """Intensities, shape (channels, z, y, x), and labels: stripes in the middle of a round body."""
    rng = np.random.default_rng(number)
    axes = [(np.arange(n) + 0.5) / n - 0.5 for n in layout.shape]
    _, y, x = np.meshgrid(*axes, indexing="ij")
    radius = np.hypot(y, x)
    place = (x + 0.25) / 0.5 + rng.uniform(-0.1, 0.1)
    labels = np.where(radius < 0.25, np.clip(1 + place * layout.n_labels, 1, layout.n_labels), 0).astype(np.uint8)
    body = radius < 0.42
    channels = []
    for channel, name in enumerate(layout.channels):
        tissue = 40 + 30 * channel + 120.0 * labels / layout.n_labels + rng.normal(0, 8, labels.shape)
        outside = -1000.0 if name == "CT" else 0.0 if layout.skull else rng.uniform(0, 5, labels.shape)
        fat = np.where(rng.uniform(size=labels.shape) < 0.1, -100.0, tissue) if name == "CT" else tissue
        channels.append(np.where(body, fat, outside).astype(np.int16))
    return np.stack(channels), labels


def save(file: Path, voxels: npt.NDArray[Any], spacing: Sequence[float], turn: npt.NDArray[Any] = AXIAL) -> None:
    """Write voxels of axes (z, y, x) as a file of axes (x, y, z), which `turn` maps to right, anterior, superior."""
    affine = np.eye(4)
    affine[:3, :3] = turn * np.array(spacing)[::-1]
    image = nibabel.Nifti1Image(np.ascontiguousarray(voxels.transpose(2, 1, 0)), affine)
    file.parent.mkdir(exist_ok=True)
    data = image.to_bytes()
    file.write_bytes(gzip.compress(data) if file.name.endswith(".gz") else data)
