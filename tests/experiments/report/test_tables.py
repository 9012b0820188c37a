import csv
import io
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decomp.experiments.report.tables import Table, readable, text

TABLE = Table(
    "wins",
    "Wins & losses",
    ("sampler", "final_miou", "repeats"),
    (("uncert_decomp", 0.123456789, 5), ("50 % {x}", None, None)),
    "100 % of them",
)


def test_csv_holds_raw_values_and_nothing_where_undefined():
    assert TABLE.csv() == "sampler,final_miou,repeats\nuncert_decomp,0.123456789,5\n50 % {x},,\n"


@given(st.floats(allow_nan=False))
def test_csv_reads_back_the_same_float(value):
    ((_,), (cell,)) = csv.reader(io.StringIO(Table("t", "", ("x",), ((value,),)).csv()))
    assert float(cell) == value


@pytest.mark.parametrize("name", ['=HYPERLINK("http://x")', "+1", "-1-1", "@SUM(A1)", "\t=1"])
def test_csv_holds_names_that_a_spreadsheet_does_not_compute(name):
    table = Table("t", "", ("class", "score"), ((name, -0.5), ("road", None)))
    assert list(csv.reader(io.StringIO(table.csv(), newline=""))) == [
        ["class", "score"],
        [f"'{name}", "-0.5"],
        ["road", ""],
    ]


def test_latex_is_a_booktabs_tabular_with_escaped_cells():
    assert TABLE.latex().splitlines() == [
        "% Wins & losses",
        "% 100 % of them",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"sampler & final miou & repeats \\",
        r"\midrule",
        r"uncert\_decomp & 0.1235 & 5 \\",
        r"50 \% \{x\} & -- & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@given(st.text("\\&%$#_{}~^<>±×≤–ab", max_size=12))
def test_latex_leaves_no_special_character_unescaped(name):
    row = Table("t", "", ("x",), ((name,),)).latex().splitlines()[4].removesuffix(r" \\")
    for command in (r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        row = row.replace(command, "")
    for command in (r"$<$", r"$>$", r"$\times$", r"$\pm$", r"$\le$", *(f"\\{c}" for c in "&%$#_{}")):
        row = row.replace(command, "")
    assert not set(row) & set("\\&%$#_{}~^<>±×≤–")


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (None, "–"),
        ("a", "a"),
        (12345, "12345"),
        (0.0, "0"),
        (-0.25, "-0.2500"),
        (0.00781, "0.0078"),
        (1.5e-5, "1.5e-05"),
        (2.34567, "2.346"),
        (123.456, "123.5"),
        (98765.4, "98765"),
        (math.inf, "inf"),
    ],
)
def test_cells_are_rounded_for_humans(cell, shown):
    assert text(cell) == shown


def test_heads_are_readable():
    assert readable("final_miou_sd") == "final miou sd"


def test_a_row_of_another_length_is_a_mistake():
    with pytest.raises(ValueError, match="2 columns"):
        Table("t", "", ("a", "b"), ((1,),))
