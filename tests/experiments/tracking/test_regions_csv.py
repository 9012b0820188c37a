from helpers.fake_runs import Tiny

from decomp.experiments.tracking.regions_csv import regions_table
from decomp.platform.ledger import Annotation
from decomp.platform.regions import Region


class Halved(Tiny):
    """Its images are read at half their resolution."""

    def original(self, region):
        return Region(region.image, tuple(2 * a for a in region.start), tuple(2 * n for n in region.size))


def test_regions_are_listed_in_pixels_of_the_original():
    rows = [Annotation(Region("a", (1, 2), (4, 5)), 3, 0, 1), Annotation(Region("a", (6, 7), (4, 5)), 3, 1)]
    assert regions_table(Halved(), rows).splitlines() == [
        "image,cycle,rank,class_drawn,start_0,start_1,size_0,size_1",
        "a,3,0,road (wet),2,4,8,10",
        "a,3,1,,12,14,8,10",
    ]


def test_a_cycle_without_regions_gives_an_empty_table():
    assert regions_table(Tiny(), []).splitlines() == ["image"]


def test_names_are_no_formulas(monkeypatch):
    monkeypatch.setattr(Tiny, "classes", ("=1+1", *Tiny.classes[1:]))
    rows = [Annotation(Region("@a", (0, 0), (1, 1)), 1, 0, 0), Annotation(Region("-b", (0, 0), (1, 1)), 1, 1)]
    assert regions_table(Tiny(), rows).splitlines()[1:] == ["'@a,1,0,'=1+1,0,0,1,1", "'-b,1,1,,0,0,1,1"]
