from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from helpers.fake_runs import as_rois
from helpers.report_contents import colour_pixels, pixels_of, rows

from decomp.experiments.verdict.forest import LOOKS, POOLED, Said, forest_drawing
from decomp.experiments.verdict.page import verdict_page

from .conftest import with_design


def text_of(page):
    return " ".join(" ".join(page.itertext()).split())


def parsed(verdict):
    return ElementTree.fromstring(verdict.html.removeprefix("<!DOCTYPE html>"))


def test_the_page_says_who_differs_and_shows_every_file(two, tmp_path):
    verdict = verdict_page(two)
    page = verdict.write(tmp_path / "verdict")
    assert verdict.sentences[0] == (
        "Over 7 block(s) of 2 data set(s) 2 of the 3 pair(s) of samplers differ(s) significantly: "
        "decomp over rand (+0.196 [+0.135, +0.258], p 0.047) and uncert over rand (+0.179 [+0.117, +0.240], p 0.047)."
    )
    assert verdict.sentences[1] == (
        "Without digits, no longer significant: rand – decomp (-0.125, p 0.75) and rand – uncert (-0.250, p 0.75)."
    )
    assert verdict.sentences[3].startswith("Undecided, with the blocks that would find")
    assert "decomp – uncert (+0.018, p " in verdict.sentences[3]
    assert verdict.sentences[4].startswith("Mean ranks, 1 being the best: decomp 1.43 [1.43, 1.43], uncert 1.57")
    assert verdict.sentences[5] == "Agreement of the data sets on the ranking, Kendall's tau: 0.33."
    tree = parsed(verdict)
    assert verdict.sentences[0] in text_of(tree)
    links = [link.get("href") for link in tree.iter() if link.tag.rsplit("}")[-1] == "a"]
    assert "forest.svg" in links
    assert "pooled_pairs.csv" in links
    assert all((page.parent / link).is_file() for link in links if not link.startswith("#"))
    assert verdict.html == verdict_page(two).html


def test_tables_hold_the_pairs_and_what_every_data_set_adds(two):
    tables = {table.name: rows(table) for table in verdict_page(two).tables}
    first = tables["pooled_pairs"][0]
    assert (first["first"], first["second"], first["blocks"]) == ("rand", "decomp", 7)
    added = [r for r in tables["pooled_by_data_set"] if (r["first"], r["second"]) == ("rand", "decomp")]
    assert [(r["data_set"], r["blocks"]) for r in added] == [("digits", 4), ("slides", 3)]
    assert [r["difference_without"] for r in added] == pytest.approx([-0.125, -0.25])
    assert [r["full_annotation"] for r in tables["experiments"]] == [1.0, 0.4]
    assert {r["read_from"] for r in tables["experiments"]} == {"digits.zip", "slides.zip"}


def test_the_forest_has_the_colour_of_every_data_set(two):
    forest = verdict_page(two).drawings[0]
    assert forest.name == "forest"
    assert all(colour_pixels(forest, LOOKS[k][0]) > 50 for k in range(2))
    assert "rand – decomp" in forest.svg
    assert colour_pixels(verdict_page(two[:1]).drawings[0], LOOKS[0][0]) == 0  # all blocks are those of the data set


def test_a_data_set_looks_the_same_where_another_has_no_part(two):
    forest = forest_drawing(verdict_page(two).pooled.pairs, ["none", "digits", "slides"])
    assert colour_pixels(forest, LOOKS[0][0]) == 0
    assert all(colour_pixels(forest, LOOKS[k][0]) > 50 for k in (1, 2))


def test_a_row_is_filled_where_it_is_decided_and_the_edges_of_what_is_small_are_in_the_figure(two):
    pairs = verdict_page(two).pooled.pairs
    said = [[Said("undecided (7)", decided)] * len(pairs) for decided in (False, True)]
    hollow, filled = (colour_pixels(forest_drawing(pairs, ["digits"], answers=each), POOLED) for each in said)
    assert filled > hollow + 100
    small, none = (
        pixels_of(forest_drawing(pairs, ["digits"], answers=[Said("", decided=False, small=each)] * len(pairs)))
        for each in (0.9, 0.0)
    )
    shaded = (small == 0xEE).all(axis=-1).sum(axis=0) > 100
    inside = (none == 0xDD).all(axis=-1).sum(axis=0) > 0
    assert np.flatnonzero(inside).min() < np.flatnonzero(shaded).min()
    assert np.flatnonzero(shaded).max() < np.flatnonzero(inside).max()  # lines between rows cross the whole panel


def test_too_few_blocks_are_said_with_how_many_more_would_do(source):
    made = source("d", {"rand": [[0.1, 0.2]] * 3, "decomp": [[0.1, 0.5]] * 3})
    sentences = verdict_page([made]).sentences
    assert sentences[0] == (
        "Over 3 block(s) of 1 data set(s) no difference can be significant: with 3 the least corrected p of 1 pair(s) "
        "of samplers is 0.25; 3 more block(s) would do."
    )
    assert sentences[1] == (
        "Too few blocks for p to be significant, whatever they show; in brackets the difference, the blocks, and how "
        "many more it takes at least: rand – decomp (-0.167, 3; 3 more)."
    )
    assert not any("Undecided" in sentence for sentence in sentences)


def test_the_axis_of_gains_is_named_for_every_data_set(two):
    description = replace(two[1].description, metric="weighted_f1")
    slides = replace(two[1], description=description, histories=as_rois(two[1].histories))
    verdict = verdict_page([two[0], slides])
    axes = "the annotated share of the training pixels (digits) and the processed share of the slides (slides)"
    notes = {table.name: table.note for table in verdict.tables}
    assert f"over {axes}, from 0" in notes["pooled_pairs"]
    assert f"over {axes}, from 0" in notes["mean_ranks"]
    assert notes["mean_ranks"].endswith("averaged over the budgets that all of these have.")
    assert [row["axis"] for row in rows(verdict.tables[-1])] == [
        "annotated share of the training pixels",
        "processed share of the slides",
    ]
    assert f"over {axes}" in text_of(parsed(verdict))


def test_what_has_no_part_in_the_verdict_is_on_the_page(two, source):
    lost = source("lost", {"rand": [[0.1, 0.2]], "decomp": [[0.1, 0.3]]}, full=None)
    part = replace(two[1], left_out=("rand/1x2-4x4/seed-7-fold-0", "decomp/1x2-4x4/seed-7-fold-0"))
    text = text_of(parsed(verdict_page([with_design(two[0], oracles=("decomp",)), part, lost])))
    assert "slides is not complete: 2 of 12 runs and full annotations were not finished when it was exported, " in text
    assert "lost: no full annotation is finished, so it cannot be set beside other data and is left out." in text
    assert "Oracle baselines, which read the truth, are shown but have no part in the verdict: decomp." in text
    assert "decomp (oracle baseline)" in text


def test_crossings_of_the_first_cycle_are_upper_bounds_and_equals_share_a_place(source):
    made = source("d", {name: [[0.96, 0.97]] * 2 for name in ("rand", "decomp")})
    text = text_of(parsed(verdict_page([made])))
    assert "rand and decomp reach 95% of the full-annotation score (mIoU 0.950) by the shared first cycle" in text
    assert "at most" in text


def test_repeats_that_a_sampler_lacks_take_nothing_from_the_others(source):
    made = source("d", {"rand": [[0.1, 0.2]] * 4, "decomp": [[0.1, 0.5]] * 4, "badge": [[0.1, 0.9]]})
    verdict = verdict_page([made])
    counts = {(r["first"], r["second"]): r["blocks"] for r in rows(verdict.tables[0])}
    assert counts == {("rand", "decomp"): 4, ("rand", "badge"): 1, ("decomp", "badge"): 1}
    assert "badge is summed up over 1 of the 4 repeat(s)" in text_of(parsed(verdict))


def test_nothing_finished_is_no_verdict(source):
    verdict = verdict_page([source("d", {"rand": [[0.1]], "decomp": [[0.1]]}, full=None)])
    assert verdict.sentences[0].startswith("No pair of samplers has a finished block in common")
    assert parsed(verdict) is not None
