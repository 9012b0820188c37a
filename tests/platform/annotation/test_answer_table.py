import pytest
from helpers.annotating import CLASSES, query

from decomp.platform.annotation.answer_table import AnswerTable, Line
from decomp.platform.errors import UserError

QUERIES = [query((20, 30), ((4, 10), (6, 14)), number) for number in range(2)]
HEADS = "query,image,window,class,skipped,annotator,seconds\n"


@pytest.fixture
def table(tmp_path):
    return AnswerTable(tmp_path, QUERIES)


def test_a_table_that_nobody_has_filled_in_answers_nothing(table):
    assert table.read() == {}
    table.write()
    assert table.read() == {query.id: Line() for query in QUERIES}
    mistakes = []
    assert table.read_answers(CLASSES, mistakes)[1] == {}
    assert mistakes == []


def test_a_table_is_left_alone_once_it_is_there(table):
    table.file.write_text("mine")
    table.write()
    assert table.file.read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (f"{HEADS}cycle-0003-001,,,sky,,ann,2.5\n", "utf-8"),
        (f"{HEADS}cycle-0003-001,,,sky,,ann,2.5\n".replace(",", ";").replace("2.5", "2,5"), "utf-8-sig"),
        ("seconds\tquery\tannotator\tclass\tskipped\n2.5\tcycle-0003-001\tann\tsky\t\n\t\t\t\t\n", "utf-8"),
    ],
)
def test_tables_are_read_as_spreadsheets_save_them(table, text, encoding):
    table.file.write_text(text, encoding)
    assert table.read() == {"cycle-0003-001": Line("sky", "", "ann", 2.5)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("query,class\n", "has no column 'skipped'; it needs query, class, skipped, annotator, seconds"),
        ("", "has no column 'query'"),
        (f"{HEADS}cycle-0002-001,,,sky,,,\n", "there is no region 'cycle-0002-001' in this cycle; remove the line"),
        (f"{HEADS}cycle-0003-001,,,sky,,,long\n", "cycle-0003-001: seconds must be a number, not 'long'"),
        (f"{HEADS}cycle-0003-001,,,sky,,,nan\n", "seconds must be a number, not 'nan'"),
        (f"{HEADS}cycle-0003-001,,,sky,,,-1\n", "seconds must be a number, not '-1'"),
        (f"{HEADS}cycle-0003-001,,,sky,dark,,\n", "cycle-0003-001 is skipped, but there is a class as well"),
        (f"{HEADS}cycle-0003-001,,,ski,,,\n", "cycle-0003-001: there is no class 'ski' (did you mean 'sky'?)"),
        (f'{HEADS}cycle-0003-001,,,"{"x" * 200_000}",,,\n', "is no table of comma-separated values"),
    ],
)
def test_mistakes_are_told_in_a_sentence(table, text, told):
    table.file.write_text(text)
    mistakes = []
    assert table.read_answers(CLASSES, mistakes)[1] == {}
    (mistake,) = mistakes
    assert mistake.startswith(str(table.file))
    assert mistake.endswith(".")
    assert told in mistake


def test_a_table_in_another_encoding_is_told(table):
    table.file.write_bytes("Übergröße".encode("latin-1"))
    with pytest.raises(UserError, match="is no text in UTF-8"):
        table.read()
