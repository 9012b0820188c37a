import pytest

from decomp.platform.candidates import candidates
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region

SHAPES = {name: (4, 4) for name in "abc"}


def ledger(*visits, size=(2, 2)):
    """Visits are (cycle, image, start)."""
    return Ledger.of(Annotation(Region(image, start, size), cycle, 0) for cycle, image, start in visits)


def test_all_images_at_first():
    assert candidates(SHAPES, (2, 2), Ledger()) == ["a", "b", "c"]


def test_a_selected_image_leaves_the_candidates():
    assert candidates(SHAPES, (2, 2), ledger((1, "b", (0, 0)))) == ["a", "c"]


def test_a_new_loop_starts_when_none_is_left():
    visited = ledger((1, "b", (0, 0)), (2, "a", (0, 0)), (2, "c", (0, 0)))
    assert candidates(SHAPES, (2, 2), visited) == ["a", "b", "c"]
    assert candidates(SHAPES, (2, 2), visited.extend(ledger((3, "a", (2, 2))))) == ["b", "c"]


def test_an_image_without_a_free_window_is_no_candidate_again():
    visited = ledger((1, "a", (0, 0)), (1, "b", (1, 1)), (1, "c", (0, 0)))
    assert candidates(SHAPES, (2, 2), visited) == ["a", "c"]


def test_an_exhausted_pool_has_no_candidates():
    visited = ledger((1, "a", (1, 1)), (1, "b", (1, 1)), (1, "c", (1, 1)))
    assert candidates(SHAPES, (2, 2), visited) == []


def test_a_ledger_that_goes_on_after_the_end_is_damaged():
    visited = ledger((1, "a", (1, 1)), (1, "b", (1, 1)), (1, "c", (1, 1)), (2, "a", (1, 1)))
    with pytest.raises(ValueError, match="damaged"):
        candidates(SHAPES, (2, 2), visited)
