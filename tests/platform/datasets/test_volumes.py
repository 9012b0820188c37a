import gzip
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest

from decomp.platform.datasets.volumes import NiftiVolumes, Volumes
from decomp.platform.errors import UserError


@dataclass(frozen=True)
class Livers(NiftiVolumes):
    """A user's own data: everything that has to be written for it."""

    folder: str

    classes = ("background", "liver")

    def ids(self, split, fold):
        return {"train": ("a", "b"), "validation": ("c",), "test": ("d",)}[split]

    def image_file(self, image):
        return Path(self.folder) / f"{image}.nii.gz"

    def label_file(self, image):
        return Path(self.folder) / f"{image}-liver.nii.gz"


class Arrays(Volumes):
    """Volumes that are no files."""

    classes = ("background", "organ")

    def ids(self, split, fold):
        return ("only",)

    def shape(self, image):
        return (3, 30, 30)

    def voxel(self, image):
        return (5.0, 4.0, 4.0)

    def image(self, image):
        hu = np.full((3, 30, 30, 1), -1000, np.float32)
        hu[:, 5:25, 5:25] = 40
        return hu

    def labels(self, image):
        return np.zeros((3, 30, 30), np.uint8)

    def fingerprint(self):
        return ""


def save(file, voxels):
    # As most scanners' converters do: x, y, z towards left, posterior, superior.
    image = nibabel.Nifti1Image(voxels.transpose(2, 1, 0), np.diag([-1.5, -1.5, 5, 1]))
    file.write_bytes(gzip.compress(image.to_bytes()))


@pytest.fixture
def folder(tmp_path):
    for image in "abcd":
        hu = np.full((3, 12, 10), -1000 + ord(image), np.int16)
        save(tmp_path / f"{image}.nii.gz", hu)
        save(tmp_path / f"{image}-liver.nii.gz", (hu[:, ::-1] > 0).astype(np.uint8))
    return tmp_path


def test_own_data_set_is_read(folder):
    livers = Livers(str(folder))
    assert livers.problems() == []
    assert (livers.shape("a"), livers.voxel("a")) == ((3, 12, 10), (5.0, 1.5, 1.5))
    assert livers.file_axes("a") == (2, 1, 0)
    assert np.array_equal(livers.image("b"), np.full((3, 12, 10, 1), -902, np.float32))
    assert livers.labels("b").shape == (3, 12, 10)


def test_classes_of_the_own_data_set_are_known(folder):
    save(folder / "c-liver.nii.gz", np.full((3, 12, 10), 2, np.uint8))
    livers = Livers(str(folder))
    sentence = f"dataset: c: {folder}/c-liver.nii.gz has unknown labels (2; known are 0 to 1); "
    assert livers.problems() == [sentence + "restore the file or leave the volume out."]
    with pytest.raises(UserError, match="has unknown labels"):
        livers.labels("c")


def test_every_split_is_checked_and_in_the_fingerprint(folder):
    livers = Livers(str(folder))
    for image in "abcd":
        before = livers.fingerprint()
        (folder / f"{image}.nii.gz").unlink()
        assert livers.fingerprint() != before
    assert [problem.split(": ")[1] for problem in livers.problems()] == list("abcd")


def test_volumes_that_are_no_files_have_a_body():
    body = Arrays().body("only")
    differing = body != (Arrays().image("only")[..., 0] > 0)
    assert body.any()
    assert np.argwhere(differing[0]).tolist() == [[5, 5], [5, 24], [24, 5], [24, 24]]  # corners are rounded
