from decomp.platform.ledger import SCHEMA, Annotation, Ledger
from decomp.platform.regions import Region

ROWS = [
    Annotation(Region("b", (0, 4), (2, 2)), cycle=1, rank=0, drawn_class=3, score=4.0),
    Annotation(Region("a", (1, 1), (2, 2)), cycle=1, rank=0),
    Annotation(Region("b", (6, 6), (2, 2), b"\xb0"), cycle=2, rank=1, score=0.25),
]


def test_rows_survive_the_table():
    ledger = Ledger.of(ROWS)
    assert ledger.table.schema == SCHEMA
    assert ledger.annotations() == ROWS


def test_extending_keeps_the_order():
    assert Ledger.of(ROWS[:1]).extend(Ledger.of(ROWS[1:])).annotations() == ROWS


def test_regions_of_an_image():
    ledger = Ledger.of(ROWS)
    assert ledger.regions("b") == (ROWS[0].region, ROWS[2].region)
    assert ledger.regions("c") == ()
    assert len(Ledger()) == 0


def test_full_annotation_is_one_region_per_image():
    assert Ledger.whole({"a": (4, 6)}).regions("a") == (Region("a", (0, 0), (4, 6)),)
