import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from matplotlib.figure import Figure

from decomp.experiments.report.figures import Drawing, render
from decomp.experiments.report.page import OPEN_ROWS, SHOWN_ROWS, Section, columns, page
from decomp.experiments.report.tables import Table

EVIL = "<script>alert('1')</script> & \"quotes\""


def drawing(name, width=3.0):
    figure = Figure(figsize=(width, 2.0))
    figure.subplots().plot([0, 1], [1, 0])
    return render(figure, name, f"Title of {name}", "A note.")


def table(rows, name="numbers"):
    return Table(name, "Numbers", ("sampler", "score_mean", "score_sd"), tuple(("a", k / 7, 0.5) for k in range(rows)))


@pytest.fixture
def sections():
    return [
        Section("Result", "It is so.\n\n- one\n- two", (table(3),), (drawing("curves"),)),
        Section("More", "", (table(OPEN_ROWS + 1, "long"), table(SHOWN_ROWS + 1, "repeats"), table(0, "none"))),
    ]


class Resources(HTMLParser):
    """Addresses of everything that a browser would load or follow."""

    def __init__(self, html):
        super().__init__()
        self.loaded, self.links, self.tags = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.loaded += [attributes[key] for key in ("src", "srcset", "data", "poster", "action") if key in attributes]
        self.links += [attributes["href"]] if "href" in attributes else []


def parsed(html):
    return ElementTree.fromstring(html.removeprefix("<!DOCTYPE html>"))


def test_the_page_is_well_formed_and_every_id_is_there_once(sections):
    html = page("Report", {"Data": "digits"}, sections)
    ids = [element.get("id") for element in parsed(html).iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    anchors = [link[1:] for link in Resources(html).links if link.startswith("#")]
    assert anchors
    assert set(anchors) <= set(ids)


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(sections):
    html = page("Report", {}, sections)
    found = Resources(html)
    assert found.loaded
    assert all(address.startswith("data:image/") for address in found.loaded)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "url(" not in html
    assert "@import" not in html
    assert not re.search(r"https?://", html)
    assert "default-src 'none'" in html


def test_the_same_input_gives_the_same_bytes(sections):
    assert page("Report", {"a": "b"}, sections) == page("Report", {"a": "b"}, sections)


def test_whatever_is_written_is_text_and_never_markup():
    evil = Table("evil", EVIL, ("sampler", EVIL), ((EVIL, EVIL),), EVIL)
    picture = drawing("evil")
    picture = Drawing("evil", EVIL, picture.png, picture.svg, EVIL)
    html = page(EVIL, {EVIL: EVIL}, [Section(EVIL, f"{EVIL}\n\n- {EVIL}", (evil,), (picture,))])
    assert "<script" not in html
    # Title and heading, key and value, heading of the section, paragraph, list, title and note of the figure; of the
    # table title, head, two cells and note.
    assert "".join(parsed(html).itertext()).count(EVIL) == 2 + 2 + 1 + 2 + 2 + 5


def test_figures_have_words_for_those_who_cannot_see_them_and_are_whole(sections):
    (image,) = parsed(page("Report", {}, sections)).iter("img")
    assert image.get("alt") == "Title of curves. A note."
    assert (image.get("width"), image.get("height")) == ("300", "200")
    kind, content = image.get("src").split(";base64,")
    assert kind == "data:image/svg+xml"
    assert base64.b64decode(content).decode() == sections[0].drawings[0].svg


def test_a_drawing_without_vector_form_is_shown_as_pixels():
    picture = drawing("photo")
    html = page("Report", {}, [Section("Result", drawings=(Drawing("photo", "Photo", picture.png, ""),))])
    (image,) = parsed(html).iter("img")
    assert base64.b64decode(image.get("src").removeprefix("data:image/png;base64,")) == picture.png
    assert "photo.svg" not in html


def test_tables_say_what_their_rows_and_columns_are(sections):
    tree = parsed(page("Report", {}, sections))
    short = next(tree.iter("table"))
    assert [head.get("scope") for head in short.iter("th")] == ["col", "col", "row", "row", "row"]
    assert [cell.text for cell in short.iter("td")] == ["0 ± 0.5000", "0.1429 ± 0.5000", "0.2857 ± 0.5000"]
    assert "Numbers" in "".join(short.find("caption").itertext())


def test_long_tables_are_folded_and_very_long_ones_in_their_files_only(sections):
    html = page("Report", {}, sections)
    tree = parsed(html)
    (folded,) = tree.iter("details")
    assert len(list(folded.iter("tr"))) == OPEN_ROWS + 2
    assert len(list(tree.iter("table"))) == 2
    assert f"{SHOWN_ROWS + 1} rows, in the files only" in html
    assert "there is nothing to show yet" in html


def test_files_are_linked_by_their_names(sections):
    links = {link for link in Resources(page("Report", {}, sections)).links if not link.startswith("#")}
    assert links == {"numbers.csv", "numbers.tex", "long.csv", "long.tex", "repeats.csv", "curves.svg", "curves.png"}


def test_a_mean_and_its_deviation_share_a_column_and_nothing_else_does():
    heads = ("name", "x_mean", "x_sd", "y_mean", "z_sd", "n")
    found = columns(Table("t", "T", heads, (("a", 0.5, 0.25, 0.5, 0.25, 2), ("b", 0.5, None, None, None, 3))))
    assert [column.head for column in found] == ["name", "x", "y\u00a0mean", "z\u00a0sd", "n"]
    assert found[1].cells == ("0.5000 ± 0.2500", "0.5000")
    assert [column.numeric for column in found] == [False, True, True, True, True]


def test_several_narrow_figures_stand_side_by_side_and_wide_ones_do_not():
    narrow = tuple(drawing(f"d{k}") for k in range(3))
    assert 'class="pairs"' in page("Report", {}, [Section("Result", drawings=narrow)])
    assert 'class="pairs"' not in page("Report", {}, [Section("Result", drawings=narrow[:2])])
    assert 'class="pairs"' not in page("Report", {}, [Section("Result", drawings=(*narrow, drawing("wide", 12.0)))])
