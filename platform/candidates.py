"""Which images may be selected in a cycle (Sec. 1 of the method notes)."""

from collections.abc import Mapping, Sequence

from decomp.platform.ledger import Ledger
from decomp.platform.regions import Region
from decomp.platform.samplers.windows import free_windows


def candidates(shapes: Mapping[str, Sequence[int]], size: Sequence[int], ledger: Ledger) -> list[str]:
    """Candidate images of the cycle that follows the ledger's last one, sorted.

    An image selected in a cycle leaves the candidates; when none is left, a new loop starts with every image that
    still has a free window. The state is replayed from the ledger alone, so that it survives a restart.

    Args:
        shapes: spatial shape of every image of the pool.
        size: region size per axis.
        ledger: all annotated regions.

    Returns:
        Ids of the candidates; empty if no image has a free window left.
    """
    visits: dict[int, set[str]] = {}
    annotated: dict[str, list[tuple[int, Region]]] = {}
    for row in ledger.annotations():
        visits.setdefault(row.cycle, set()).add(row.region.image)
        annotated.setdefault(row.region.image, []).append((row.cycle, row.region))

    def with_free_window(before: int) -> set[str]:
        return {
            image
            for image, shape in shapes.items()
            if free_windows(shape, size, [r for cycle, r in annotated.get(image, ()) if cycle < before]).any()
        }

    last = max(visits, default=0)
    left = set(shapes)
    for cycle in sorted(visits):
        left -= visits[cycle]
        if not left:
            left = with_free_window(before=cycle + 1)
            if not left and cycle < last:
                raise ValueError("The ledger has regions in a cycle that had no candidates; its file is damaged.")
    return sorted(left)
