import io

import pytest
from rich.console import Console

from decomp.experiments.listing import table_of_names, tables_of_options
from decomp.platform.datasets import DATASETS
from decomp.platform.errors import UserError
from decomp.platform.learners import LEARNERS
from decomp.platform.names import RIVALS, SAMPLERS


def printed(renderable):
    out = io.StringIO()
    Console(file=out, width=100).print(renderable)
    return out.getvalue()


def row(text, option):
    """The first line of an option's row, its cells apart."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [option])


def test_everything_that_a_file_may_name_is_listed():
    words = printed(table_of_names()).split()
    assert {*SAMPLERS, *RIVALS, *DATASETS, *LEARNERS} <= {*words}


def test_what_reads_the_truth_is_marked():
    lines = printed(table_of_names()).replace("\n                 ", " ").splitlines()
    marked = {line.split()[1] for line in lines if "oracle baseline" in line and line.split()[0] == "sampler"}
    assert marked == {"rand-fg-33", "rand-fg-66", "rand-class"}


@pytest.mark.parametrize("name", [*SAMPLERS, *RIVALS, *DATASETS, *LEARNERS, "decomposition", "slic", "core-set"])
def test_every_option_of_what_comes_along_has_a_row_that_fits(name):
    text = printed(tables_of_options(name))
    assert name in text
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text


def test_an_option_is_shown_with_its_type_default_and_meaning():
    text = printed(tables_of_options("slic"))
    assert text.startswith("partition slic\nSLIC superpixels")
    assert "about how many regions" in " ".join(row(text, "segments")).lower()
    assert "required" in row(text, "segments")
    assert "10.0" in row(text, "compactness")


def test_a_name_of_two_selectors_shows_both():
    text = printed(tables_of_options("decomposition"))
    assert "image selector decomposition\n" in text
    assert "region selector decomposition\n" in text
    assert row(text, "cap")
    assert text.rstrip().endswith("It has no options.")


def test_a_sampler_shows_its_keys_as_a_file_writes_them_and_its_selectors():
    text = printed(tables_of_options("badge"))
    assert row(text, "tau")[-len(["Schedule", "of", "the", "confidence", "threshold", "of", "Eq.", "1:"]) - 1] == "0.7"
    assert "null" in row(text, "background")
    assert text.index("sampler badge\n") < text.index("image selector uncertainty\n")
    assert text.count("region selector badge\n") == 1


def test_a_class_of_the_users_own_is_shown():
    text = printed(tables_of_options("helpers.toys:Centroids"))
    assert text.startswith("learner helpers.toys:Centroids\n")
    assert row(text, "jitter")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nnunett", r"nothing of the name 'nnunett' \(did you mean 'nnunet'\?\); type 'decomp list' for all names"),
        ("helpers.toys:Nothing", "Cannot import class 'helpers.toys:Nothing'"),
        ("collections:Counter", "is none of these: image selector, region selector, partition, data set, learner"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_sentence(name, message):
    with pytest.raises(UserError, match=message):
        tables_of_options(name)
