"""Which images may be selected in a cycle (Sec. 1 of the method notes)."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from decomp.platform.grid import Budget, Component
from decomp.platform.ledger import Ledger
from decomp.platform.regions import Region
from decomp.platform.samplers.windows import Windows


class Candidates:
    """The candidate images of one split, from cycle to cycle.

    An image selected in a cycle leaves the candidates; when none is left, a new loop starts with every image that
    still has a free place. With a budget for the whole pool an image stays until it has no free place. A split without
    a free place is no longer selected from; the run may go on with another.

    Args:
        shapes: spatial shape of every image of the split.
        budget: budget of a cycle.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], budget: Budget) -> None:
        self.shapes = shapes
        self.budget = budget
        self._annotated: dict[str, list[Region]] = {}
        self._left = set(shapes)

    @classmethod
    def replayed(
        cls,
        shapes: Mapping[str, Sequence[int]],
        budget: Budget,
        ledger: Ledger,
        selected: Sequence[Collection[str]],
    ) -> "Candidates":
        """The state after the committed cycles; it follows from them alone, so it survives a restart.

        Args:
            shapes: spatial shape of every image of the split.
            budget: budget of a cycle.
            ledger: all annotated regions.
            selected: ids of the images selected in each cycle, from the first, in any split.

        Raises:
            ValueError: if images of the split were selected when none had a free place.
        """
        regions: dict[int, list[Region]] = {}
        for row in ledger.annotations():
            regions.setdefault(row.cycle, []).append(row.region)
        state = cls(shapes, budget)
        for cycle, images in enumerate(selected, start=1):
            state.annotate(images, regions.get(cycle, ()))
        return state

    def images(self) -> list[str]:
        """Ids of the candidates of the next cycle, sorted; none if no image has a free place left."""
        return sorted(self._left)

    @property
    def exhausted(self) -> bool:
        """Whether no image has a free place left."""
        return not self._left

    def annotate(self, selected: Collection[str], regions: Iterable[Region]) -> None:
        """Record the regions that a cycle annotated in the selected images; those of other splits change nothing."""
        selected_here = self.shapes.keys() & set(selected)
        if self.exhausted and selected_here:
            raise ValueError("The ledger has regions in a cycle that had no candidates; its file is damaged.")
        for region in regions:
            if region.image in selected_here:
                self._annotated.setdefault(region.image, []).append(region)
        if self.budget.total is not None:
            self._left -= {image for image in selected_here if not self._has_room(image)}
            return
        self._left -= selected_here
        if selected_here and not self._left:
            self._left = {image for image in self.shapes if self._has_room(image)}

    def _has_room(self, image: str) -> bool:
        shape, annotated = self.shapes[image], self._annotated.get(image, ())
        if isinstance(self.budget.region, Component):  # a partition: what is not annotated can still be
            return sum(region.area for region in set(annotated)) < math.prod(shape)
        return Windows(image, shape, self.budget.region, annotated).any_free()
