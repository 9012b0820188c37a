import pytest
from helpers.annotating import CLASSES, query

from decomp.platform.annotation.answer_table import AnswerTable, Line

QUERIES = [query((20, 30), ((4, 10), (6, 14)), number) for number in range(2)]
HEADS = "query,image,window,class,skipped,annotator,seconds\n"


@pytest.fixture
def table(tmp_path):
    return AnswerTable(tmp_path, QUERIES)


def read(table):
    """Its lines, of which none is wrong."""
    mistakes = []
    lines = table.read(mistakes)
    assert mistakes == []
    return lines


def test_a_table_that_nobody_has_filled_in_answers_nothing(table):
    assert read(table) == {}
    table.write()
    assert read(table) == {}
    mistakes = []
    assert table.read_answers(CLASSES, mistakes) == ({}, {})
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
        (f"\n{HEADS.upper().replace(',', ' , ')}cycle-0003-001,,,sky,,ann,2.5\n".replace("\n", "\r\n"), "utf-8"),
        (f"{HEADS}cycle-0003-001,,,sky,,ann,2.5\ncycle-0003-001\n".replace("\n", "\r"), "utf-8"),
        (f"{HEADS}cycle-0003-001,,,sky,,ann,2.5\ncycle-0003-001,,,sky,,ann,2.5,,\n", "utf-8"),
    ],
)
def test_tables_are_read_as_spreadsheets_save_them(table, text, encoding):
    table.file.write_bytes(text.encode(encoding))
    assert read(table) == {"cycle-0003-001": Line("sky", "", "ann", 2.5)}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("query,class\n", "has no column 'skipped'; it needs query, class, skipped, annotator, seconds"),
        ("\n", "has no column 'query'"),
        (f"{HEADS}cycle-0002-001,,,sky,,,\n", "there is no region 'cycle-0002-001' in this cycle; remove the line"),
        (f"{HEADS}cycle-0003-001,,,sky,,,long\n", "cycle-0003-001: seconds must be a number, not 'long'"),
        (f"{HEADS}cycle-0003-001,,,sky,,,nan\n", "seconds must be a number, not 'nan'"),
        (f"{HEADS}cycle-0003-001,,,sky,,,-1\n", "seconds must be a number, not '-1'"),
        (f"{HEADS}cycle-0003-001,,,sky,dark,,\n", "cycle-0003-001 is skipped, but there is a class as well"),
        (f"{HEADS}cycle-0003-001,,,ski,,,\n", "cycle-0003-001: there is no class 'ski' (did you mean 'sky'?)"),
        (f'{HEADS}cycle-0003-001,,,"{"x" * 200_000}",,,\n', "is no table of comma-separated values"),
        ("x" * 200_000, "is no table of comma-separated values"),
        (
            f"{HEADS}cycle-0003-001,,,sky,,,\n\ncycle-0003-001,,,car,,,\ncycle-0003-001,,,sky,,,\n",
            "there are several lines for cycle-0003-001; keep one",
        ),
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


def test_a_wrong_line_hides_no_other_one(table):
    table.file.write_text(f"{HEADS}cycle-0003-000,,,car,,,long\ncycle-0003-009,,,car,,,\ncycle-0003-001,,,sky,,ann,\n")
    mistakes = []
    assert table.read(mistakes) == {"cycle-0003-001": Line("sky", "", "ann")}
    assert len(mistakes) == 2


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda file: file.write_bytes("Übergröße".encode("latin-1")), "is no text in UTF-8"),
        (lambda file: file.write_bytes(b""), "is empty; copy the file again"),
        (lambda file: file.mkdir(), "is a folder, not a file"),
        (lambda file: file.symlink_to(file.parent / "nowhere"), "is a link to a file that is missing"),
    ],
)
def test_a_file_that_is_no_table_is_told(table, spoil, told):
    spoil(table.file)
    mistakes = []
    assert table.read(mistakes) == {}
    assert told in mistakes[0]
