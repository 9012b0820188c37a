"""Which images may be selected in a cycle (Sec. 1 of the method notes)."""

import math
from collections.abc import Collection, Mapping, Sequence

from decomp.platform.ledger import Ledger
from decomp.platform.regions import Region
from decomp.platform.samplers.windows import Windows
from decomp.platform.spec import Component, RegionShape


def candidates(
    shapes: Mapping[str, Sequence[int]], region: RegionShape, ledger: Ledger, visits: Sequence[Collection[str]]
) -> list[str]:
    """Candidate images of the cycle that follows the last one, sorted.

    An image selected in a cycle leaves the candidates; when none is left, a new loop starts with every image that
    still has a free place. The state is replayed from what is committed, so that it survives a restart.

    Args:
        shapes: spatial shape of every image of the pool.
        region: shape of the regions.
        ledger: all annotated regions.
        visits: ids of the images selected in each cycle, from the first.

    Returns:
        Ids of the candidates; empty if no image has a free place left.
    """
    annotated: dict[str, list[tuple[int, Region]]] = {}
    for row in ledger.annotations():
        annotated.setdefault(row.region.image, []).append((row.cycle, row.region))

    def with_room(after: int) -> set[str]:
        return {
            image
            for image, shape in shapes.items()
            if _has_room(image, shape, region, [r for cycle, r in annotated.get(image, ()) if cycle <= after])
        }

    left = set(shapes)
    for cycle, images in enumerate(visits, start=1):
        left -= set(images)
        if not left:
            left = with_room(after=cycle)
            if not left and cycle < len(visits):
                raise ValueError("The ledger has regions in a cycle that had no candidates; its file is damaged.")
    return sorted(left)


def _has_room(image: str, shape: Sequence[int], region: RegionShape, annotated: Sequence[Region]) -> bool:
    if isinstance(region, Component):  # a partition: what is not annotated can still be
        return sum(mine.area for mine in annotated) < math.prod(shape)
    return Windows(image, shape, region, annotated).any_free()
