"""Drawing of ellipsoids, cylinders and smooth noise into a volume, in millimetres."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

AIR = -1000.0

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Point = Sequence[float] | npt.NDArray[np.float64]
"""Along z, y and x, mm."""


class Canvas:
    """A volume to draw on, in millimetres; later things cover earlier ones, borders are blended over a voxel.

    Attributes:
        shape: voxels along z, y and x.
        voxel: size of a voxel along z, y and x, mm.
        axes: position of the voxels along z, y and x, mm.
        hu: Hounsfield units, shape (z, y, x), float32.
        labels: shape (z, y, x), uint8.
    """

    def __init__(
        self, shape: tuple[int, int, int], voxel: tuple[float, float, float], middle: Point = (0, 0, 0)
    ) -> None:
        """An empty volume in air; the place `middle`, in mm, lies at its centre."""
        self.shape, self.voxel = shape, voxel
        self.axes = tuple(
            ((np.arange(n) - (n - 1) / 2) * length + place).astype(np.float32)
            for n, length, place in zip(shape, voxel, middle, strict=True)
        )
        self.hu = np.full(shape, AIR, np.float32)
        self.labels = np.zeros(shape, np.uint8)

    def ellipsoid(
        self,
        centre: Point,
        radii: Point,
        hu: float | Floats,
        *,
        label: int | None = None,
        lumps: Floats | None = None,
        tilt: float = 0.0,
        inside: Mask | None = None,
    ) -> None:
        """Draw an ellipsoid.

        Args:
            centre: its centre, mm.
            radii: half axes, mm.
            hu: its density, one for all or per voxel, shape (z, y, x).
            label: its label; None leaves the labels as they are.
            lumps: per voxel, by how much of the radius the surface is moved outwards, shape (z, y, x).
            tilt: by how many mm along x the axis along z shifts per mm.
            inside: where it may be drawn, shape (z, y, x).
        """
        reach = [radius * 1.3 for radius in radii]
        reach[2] += abs(tilt) * reach[0]
        window = tuple(
            slice(*np.searchsorted(axis, (middle - far, middle + far)))
            for axis, middle, far in zip(self.axes, centre, reach, strict=True)
        )
        z, y, x = (axis[part] - middle for axis, part, middle in zip(self.axes, window, centre, strict=True))
        if 0 in (len(z), len(y), len(x)):
            return
        z, y = z[:, None, None], y[None, :, None]
        x = x[None, None, :] - np.float32(tilt) * z
        distance = np.sqrt((z / radii[0]) ** 2 + (y / radii[1]) ** 2 + (x / radii[2]) ** 2)
        depth = 1 - distance if lumps is None else 1 - distance + lumps[window]
        share = np.clip(depth * min(radii) / max(self.voxel[1:]) + 0.5, 0, 1).astype(np.float32)
        if inside is not None:
            share *= inside[window]
        self.hu[window] += share * ((hu if isinstance(hu, float) else hu[window]) - self.hu[window])
        if label is not None:
            self.labels[window][share > 0.5] = label

    def cylinder(
        self, centre: tuple[float, float], radii: tuple[float, float], hu: float, *, slices: Mask | None = None
    ) -> None:
        """Draw an elliptic cylinder along z; centre and radii along y and x, mm; `slices` tells where, shape (z,)."""
        share = self._share(centre, radii)[None]
        where = np.ones(self.shape[0], np.bool_) if slices is None else slices
        self.hu[where] += share * (np.float32(hu) - self.hu[where])

    def within(self, radii: tuple[float, float], shift: float = 0.0) -> Mask:
        """Voxels in an elliptic cylinder around the middle, `shift` mm further back; shape (z, y, x)."""
        inside = self._share((shift, 0.0), radii) > 0.5
        return np.broadcast_to(inside, self.shape).copy()

    def clouds(self, rng: np.random.Generator, cell: float) -> Floats:
        """Smooth noise of unit variance with features of about `cell` mm, shape (z, y, x)."""
        counts = [int(n * length / cell) + 4 for n, length in zip(self.shape, self.voxel, strict=True)]
        # A child, so that what is drawn next does not depend on how many numbers this takes on a finer grid.
        rng = rng.spawn(1)[0]
        grid = rng.standard_normal(counts, np.float32)
        offsets = rng.uniform(0, 1, 3)
        for axis, (n, length) in enumerate(zip(self.shape, self.voxel, strict=True)):
            grid = _stretched(grid, axis, 1 + offsets[axis] + np.arange(n) * (length / cell))
        return np.asarray(grid / max(float(grid.std()), 1e-6), np.float32)

    def _share(self, centre: tuple[float, float], radii: tuple[float, float]) -> Floats:
        y, x = self.axes[1][:, None] - centre[0], self.axes[2][None, :] - centre[1]
        depth = 1 - np.sqrt((y / radii[0]) ** 2 + (x / radii[1]) ** 2)
        return np.asarray(np.clip(depth * min(radii) / max(self.voxel[1:]) + 0.5, 0, 1), np.float32)


def _stretched(grid: Floats, axis: int, places: npt.NDArray[np.float64]) -> Floats:
    """Values at fractional indices of one axis, blended smoothly between neighbours."""
    low = places.astype(int)
    share = (places - low).astype(np.float32)
    share = (share * share * (3 - 2 * share)).reshape([-1 if k == axis else 1 for k in range(3)])
    blended = np.take(grid, low, axis) * (1 - share) + np.take(grid, low + 1, axis) * share
    return np.asarray(blended, np.float32)
