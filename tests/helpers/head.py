"""Files in the layout of Debian's package mricron-data, for the data set `brain`."""

import nibabel
import numpy as np

X, Y, Z, MIDDLE = 41, 40, 9, 20


def save(file, values, middle=MIDDLE):
    """A volume as the package stores its own: uint8, axes x, y, z towards right, front and top, voxels of 1 mm."""
    affine = np.eye(4)
    affine[:3, 3] = (-middle, -22, -3)
    volume = nibabel.Nifti1Image(values, affine)
    volume.header["pixdim"][1:4] = 1
    volume.header["sform_code"], volume.header["qform_code"] = 4, 0
    nibabel.save(volume, file)


def head() -> tuple[np.ndarray, np.ndarray]:
    """Intensities and codes, axes (x, y, z): a round head with structures in slices 2 to 6."""
    x, y, _ = np.indices((X, Y, Z))
    distance = np.hypot(x - MIDDLE, y - 20)
    intensities = np.where(distance < 18, 90 + x, 3).astype(np.uint8)
    codes = np.zeros((X, Y, Z), np.uint8)
    inside = (distance < 16) & (np.abs(np.arange(Z) - 4) < 3)
    codes[inside & (x <= MIDDLE)] = 3
    codes[inside & (x > MIDDLE)] = 4
    codes[inside & (y < 14) & (x < MIDDLE)] = 43
    codes[inside & (y < 14) & (x >= MIDDLE)] = 44
    codes[5:8, 25:30, 3:6], codes[33:36, 25:30, 3:6] = 41, 42
    codes[19:22, 20:24, 4] = 110
    codes[5, 20, 1] = 1  # on the left only
    return intensities, codes


def write_head(folder):
    """Both files of the package."""
    intensities, codes = head()
    save(folder / "ch2.nii.gz", intensities)
    save(folder / "aal.nii.gz", codes)
