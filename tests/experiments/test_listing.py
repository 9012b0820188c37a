import io
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.toy_runs import RIVAL_RUNS, RUNS
from pydantic import TypeAdapter
from rich.console import Console

from decomp.experiments.listing import facts_of, table_of_names, tables_of_options
from decomp.platform.datasets import DATASETS
from decomp.platform.errors import UserError
from decomp.platform.grid import Sampler
from decomp.platform.learners import LEARNERS
from decomp.platform.ledger import Ledger
from decomp.platform.loop.selection import SelectionStep
from decomp.platform.names import RIVALS, SAMPLERS, SOURCES


def printed(renderable, width=100):
    out = io.StringIO()
    Console(file=out, width=width).print(renderable)
    return out.getvalue()


def row(text, option):
    """The first line of an option's row, its cells apart."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [option])


def test_everything_that_a_file_may_name_is_listed():
    words = printed(table_of_names()).split()
    assert {*SAMPLERS, *RIVALS, *DATASETS, *LEARNERS} <= {*words}


def test_what_reads_the_truth_is_marked():
    lines = printed(table_of_names(), width=1000).splitlines()
    marked = {line.split()[1] for line in lines if "oracle baseline" in line and line.split()[0] == "sampler"}
    assert marked == {"rand-fg-33", "rand-fg-66", "rand-class"}


def sampler_named(name):
    return TypeAdapter(Sampler).validate_python({"sampler": name})


def test_the_samplers_page_says_of_all_what_they_declare():
    page = (Path(__file__).parents[2] / "docs/samplers.md").read_text()
    section = page.partition("## What each reads and costs")[2].partition("\n## ")[0].replace("**", "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:3] == "| `"]
    expected = [[f"`{name}`", *facts_of(sampler_named(name))] for name in (*SAMPLERS, *RIVALS)]
    assert rows == expected


def test_all_samplers_but_those_at_random_have_a_source():
    assert {*SAMPLERS, *RIVALS} - {*SOURCES} == {"rand", "rand-pool"}
    assert {*SOURCES} <= {*SAMPLERS, *RIVALS}


@pytest.mark.parametrize(
    ("images", "regions", "measure", "reads", "cost"),
    [
        ("random", "badge", None, "uncertainty, gradients", "selected images, sends gradients of candidate regions"),
        ("random", "decomposition", None, "class counts, labels", "candidate images, keeps their labels"),
        ("power", "random", "mutual_information", "mutual information", "candidate images in several passes"),
        ("core-set", "random", None, "features", "predicts the candidate images, sends their features"),
        ("uncertainty", "random", "mine:Own", "mine:Own", "candidate images"),
        ("random", "random", None, "nothing", "predicts nothing"),
    ],
)
def test_facts_of_a_pair_follow_from_its_selectors(images, regions, measure, reads, cost):
    pair = {"images": images, "regions": regions, "uncertainty": measure}
    facts = facts_of(TypeAdapter(Sampler).validate_python(pair))
    assert facts.reads == reads
    assert cost in facts.cost


@pytest.mark.parametrize("spec", [*RUNS, *RIVAL_RUNS], ids=lambda spec: spec.sampler.name)
def test_the_images_are_predicted_that_the_facts_name(spec):
    """What `SelectionStep` has the workers predict in a cycle: all of three candidates, the one selected, or none."""
    predicted = []

    class Asked(Exception):
        pass

    class Workers:
        def predict(self, task):
            predicted.extend(task.images)
            raise Asked

        def choose(self, task):
            raise Asked

    budget = replace(spec.budget, n_image=spec.budget.n_image and 1)
    step = SelectionStep(spec.sampler, budget, ("a", "b"), "train", seed=0, fold=0, cycle=2)
    with pytest.raises(Asked):
        step.run(
            Workers(), lambda phase: nullcontext(), ["x", "y", "z"], dict.fromkeys("xyz", (8, 8)), Ledger(), "model"
        )
    cost = facts_of(spec.sampler).cost
    n = 0 if "nothing" in cost else 3 if "candidate images" in cost else 1
    assert len(predicted) == n


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
