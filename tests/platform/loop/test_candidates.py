import pytest

from decomp.platform.grid import Budget, Component
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.loop.candidates import Candidates
from decomp.platform.regions import Region

SHAPES = {name: (4, 4) for name in "abc"}


def after(*visits, budget=Budget(1, 1, (2, 2)), shapes=SHAPES):  # noqa: B008  # immutable
    """Candidates after visits, each given as (cycle, image, start); a start of None is a visit that gave no region."""
    rows = [Annotation(Region(image, start, (2, 2)), cycle, 0) for cycle, image, start in visits if start is not None]
    last = max((cycle for cycle, _, _ in visits), default=0)
    by_cycle = [[image for c, image, _ in visits if c == cycle] for cycle in range(1, last + 1)]
    return Candidates.replayed(shapes, budget, Ledger.of(rows), by_cycle).images()


def test_all_images_at_first():
    assert after() == ["a", "b", "c"]


def test_a_selected_image_leaves_the_candidates():
    assert after((1, "b", (0, 0))) == ["a", "c"]


def test_a_selected_image_leaves_the_candidates_even_if_it_gave_no_region():
    assert after((1, "b", (0, 0)), (1, "a", None)) == ["c"]


def test_a_new_loop_starts_when_none_is_left():
    visited = [(1, "b", (0, 0)), (2, "a", (0, 0)), (2, "c", (0, 0))]
    assert after(*visited) == ["a", "b", "c"]
    assert after(*visited, (3, "a", (2, 2))) == ["b", "c"]


def test_an_image_without_a_free_window_is_no_candidate_again():
    assert after((1, "a", (0, 0)), (1, "b", (1, 1)), (1, "c", (0, 0))) == ["a", "c"]


def test_an_exhausted_pool_has_no_candidates():
    assert after((1, "a", (1, 1)), (1, "b", (1, 1)), (1, "c", (1, 1))) == []


def test_of_a_partition_what_is_not_annotated_remains():
    small = {"a": (2, 2), "b": (2, 3)}
    visited = [(1, "a", (0, 0)), (1, "b", (0, 0))]
    assert after(*visited, budget=Budget(1, 1, Component("slic")), shapes=small) == ["b"]


def test_a_split_that_is_exhausted_is_not_concerned_by_what_is_selected_in_another():
    visits = [(1, "a", (0, 0)), (1, "x", (0, 0)), (2, "x", (2, 2)), (3, "y", (0, 0)), (4, "x", (0, 2))]
    assert after(*visits, shapes={"a": (2, 2)}) == []
    assert after(*visits, shapes={"x": (4, 4), "y": (2, 2)}) == ["x"]


def test_a_ledger_that_goes_on_after_the_end_is_damaged():
    with pytest.raises(ValueError, match="damaged"):
        after((1, "a", (1, 1)), (1, "b", (1, 1)), (1, "c", (1, 1)), (2, "a", (1, 1)))


def test_with_a_budget_for_the_pool_an_image_stays_until_it_has_no_free_window():
    budget = Budget(None, 2, (2, 2), total=3)
    assert after((1, "a", (0, 0)), (1, "b", (1, 1)), budget=budget) == ["a", "c"]
    assert after((1, "a", (0, 0)), (1, "b", (1, 1)), (2, "a", (2, 2)), budget=budget) == ["a", "c"]
    assert after((1, "a", (1, 1)), (1, "b", (1, 1)), (2, "c", (1, 1)), budget=budget) == []
