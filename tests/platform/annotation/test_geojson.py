import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.annotating import CLASSES, WITH_NONE, asked, check, query, spoiled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from decomp.platform.annotation.geojson import GeoJson
from decomp.platform.annotation.geojson_shapes import DESCRIPTION
from decomp.platform.annotation.query import Classes
from decomp.platform.errors import UserError

QUERY = query((20, 30), ((4, 10), (6, 14)))
PREDICTED = replace(QUERY, prediction=np.tile(np.arange(8, dtype=np.uint8) % 3, (6, 1)))


def written(folder, queries, classes=CLASSES, **options):
    """What is written for the first query's image."""
    GeoJson(**options).write(queries, classes, folder)
    return json.loads((folder / f"{queries[0].image}.geojson").read_text())


def hand_back(folder, features, name="exported.geojson"):
    (folder / "answers").mkdir(exist_ok=True)
    file = folder / "answers" / name
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return file


def answers(folder, queries, classes=CLASSES, **options):
    return list(GeoJson(**options).read(queries, classes, folder))


def shape(class_name, *polygons, **properties):
    """An annotation of polygons, each of rings, each of corners."""
    closed = [[[*ring, ring[0]] for ring in polygon] for polygon in polygons]
    geometry = {"type": "Polygon", "coordinates": closed[0]}
    if len(closed) != 1:
        geometry = {"type": "MultiPolygon", "coordinates": closed}
    classification = {} if class_name is None else {"classification": {"name": class_name, "color": [1, 2, 3]}}
    named = {"objectType": "annotation", **classification, **properties}
    return {"type": "Feature", "geometry": geometry, "properties": named}


def box(left, top, right, bottom):
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


WINDOW = shape("query", [box(6, 4, 14, 10)], name=QUERY.id, isLocked=True)
ALL_ROAD = shape("road", [box(6, 4, 14, 10)])


def refused(folder, features, queries=(QUERY,), classes=CLASSES):
    file = hand_back(folder, features)
    with pytest.raises(UserError) as error:
        answers(folder, list(queries), classes)
    told = str(error.value)
    assert told.startswith(f"{file}: ")
    assert told.endswith(".")
    assert "\n" not in told
    return told


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([CLASSES, WITH_NONE]).flatmap(lambda classes: st.tuples(st.just(classes), asked(classes))))
def test_an_annotator_who_outlines_the_truth_gives_the_truth(tmp_path_factory, drawn):
    classes, pairs = drawn
    folder = tmp_path_factory.mktemp("cycle")
    prediction = written(folder, [query for query, _ in pairs], classes)
    own = [feature for feature in prediction["features"] if "name" in feature["properties"]]
    drawn = written(tmp_path_factory.mktemp("truth"), [replace(query, prediction=t) for query, t in pairs], classes)
    truth = [feature for feature in drawn["features"] if "name" not in feature["properties"]]
    hand_back(folder, [*own, *truth])
    check(answers(folder, [query for query, _ in pairs], classes), pairs)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked())
def test_a_prediction_that_is_handed_back_as_it_is_comes_back(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("cycle")
    queries = [query for query, _ in pairs]
    hand_back(folder, written(folder, queries)["features"])
    predicted = [(query, query.prediction) for query in queries if query.prediction is not None]
    check(answers(folder, queries), predicted)


def test_the_window_is_a_locked_annotation_and_classes_have_outlines_in_pixels_of_the_image(tmp_path):
    window, road, *_ = written(tmp_path, [replace(PREDICTED, prediction=np.eye(6, 8, dtype=np.uint8))])["features"]
    assert window["geometry"]["coordinates"] == [[[6, 4], [14, 4], [14, 10], [6, 10], [6, 4]]]
    assert window["properties"]["name"] == QUERY.id
    assert window["properties"]["isLocked"] is True
    assert window["properties"]["classification"]["name"] == "query"
    assert road["geometry"]["type"] == "MultiPolygon"
    assert road["properties"]["classification"]["name"] == "road"
    assert len({window["id"], road["id"]}) == 2


def test_an_irregular_region_is_outlined_itself(tmp_path):
    mask = np.zeros((6, 8), np.bool_)
    mask[2:4, 1:3] = True
    window = written(tmp_path, [replace(QUERY, mask=mask)])["features"][0]
    assert {*map(tuple, window["geometry"]["coordinates"][0])} == {(7, 6), (9, 6), (9, 8), (7, 8)}


def test_what_is_there_already_is_left_alone(tmp_path):
    (tmp_path / "train-a.geojson").write_text("edited")
    GeoJson().write([QUERY], CLASSES, tmp_path)
    assert (tmp_path / "train-a.geojson").read_text() == "edited"


def test_each_image_has_a_file_whose_name_a_file_can_have(tmp_path):
    images = ["a", "b/c", "b_c", "../d", ".e"]
    GeoJson().write([replace(QUERY, image=image) for image in images], CLASSES, tmp_path)
    files = [file.name for file in tmp_path.iterdir() if file.suffix == ".geojson"]
    assert len(set(files)) == 5
    assert {"a.geojson", "b_c.geojson"} <= set(files)
    assert not any(name.startswith(".") for name in files)


def test_holes_are_left_out_and_the_later_shape_wins(tmp_path):
    ring = shape("road", [box(6, 4, 14, 10), box(8, 5, 12, 9)])
    later = shape("car", [box(6, 4, 8, 5)], [box(13, 9, 14, 10)])
    hand_back(tmp_path, [WINDOW, shape("sky", [box(8, 5, 12, 9)]), ring, later])
    (answer,) = answers(tmp_path, [QUERY])
    expected = np.zeros((6, 8), np.uint8)
    expected[1:5, 2:6] = 1
    expected[0, :2] = expected[5, 7] = 2
    np.testing.assert_array_equal(answer.labels, expected)
    assert (answer.reason, answer.annotator, answer.seconds) == (None, None, None)


def test_shapes_are_cut_off_at_the_window_and_may_reach_into_several(tmp_path):
    other = replace(QUERY, id="cycle-0003-001", window=((10, 12), (0, 5)))
    frame = shape("query", [box(0, 10, 5, 12)], name=other.id)
    hand_back(tmp_path, [WINDOW, frame, shape("sky", [box(-5, -5, 40, 40)])])
    assert [(a.query, a.labels.tolist()) for a in answers(tmp_path, [QUERY, other])] == [
        (QUERY.id, np.ones((6, 8)).tolist()),
        (other.id, np.ones((2, 5)).tolist()),
    ]


def test_annotations_within_others_count_as_well(tmp_path):
    hand_back(tmp_path, [WINDOW, shape("road", [box(6, 4, 14, 10)], childObjects=[shape("sky", [box(6, 4, 7, 5)])])])
    (answer,) = answers(tmp_path, [QUERY])
    assert answer.labels[0, 0] == 1
    assert answer.labels.sum() == 1


def test_a_query_is_skipped_with_its_description_or_left_for_later_or_waits_while_nothing_is_drawn(tmp_path):
    queries = [replace(QUERY, id=f"cycle-0003-{k:03d}") for k in range(4)]
    frames = [
        shape("skipped", [box(6, 4, 14, 10)], name=queries[0].id, metadata={DESCRIPTION: "blurred"}),
        shape("skipped", [box(6, 4, 14, 10)], name=queries[1].id),
        shape("later", [box(6, 4, 14, 10)], name=queries[2].id),
    ]
    hand_back(tmp_path, [*frames, ALL_ROAD])
    assert [(a.query, a.labels, a.reason) for a in answers(tmp_path, queries)] == [
        (queries[0].id, None, "blurred"),
        (queries[1].id, None, None),
    ]
    hand_back(tmp_path, [WINDOW])
    assert answers(tmp_path, [QUERY]) == []


def test_pixels_that_nobody_outlined_are_told_or_of_no_class_or_of_the_rest(tmp_path):
    part = [WINDOW, shape("sky", [box(6, 4, 14, 9)])]
    told = refused(tmp_path, part)
    assert "8 pixel(s) in the region of cycle-0003-000 have no class, the first of them at row 9, column 6" in told
    (answer,) = answers(tmp_path, [QUERY], WITH_NONE)
    assert answer.labels[-1].tolist() == [255] * 8
    (answer,) = answers(tmp_path, [QUERY], rest="car")
    assert answer.labels[-1].tolist() == [2] * 8


def test_an_unknown_rest_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(UserError, match=r"^annotation.rest: there is no class 'cra' \(did you mean 'car'\?\)"):
        GeoJson(rest="cra").write([QUERY], CLASSES, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("taken", ["query", "skipped", "later"])
def test_classes_that_are_called_as_the_states_of_a_query_are_refused(tmp_path, taken):
    with pytest.raises(UserError, match=f"uses '{taken}' itself"):
        GeoJson().write([QUERY], Classes(("a", taken)), tmp_path)


def test_a_picture_that_qupath_shows_lying_on_its_side_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    file = tmp_path / "a.png"
    Image.new("L", (20, 30)).save(file, exif=exif)
    with pytest.raises(UserError, match=r"a.png: it is stored lying on its side.*; save it upright"):
        GeoJson().write([replace(QUERY, files=(file,))], CLASSES, tmp_path)
    assert not list(tmp_path.glob("*.geojson"))


def test_volumes_are_refused(tmp_path):
    with pytest.raises(UserError, match="choose nifti"):
        GeoJson().write([query((4, 5, 6), ((0, 1), (0, 5), (0, 6)))], CLASSES, tmp_path)


def test_what_does_not_fit_is_told_in_a_sentence(tmp_path):
    def told(*features):
        return refused(tmp_path, features)

    assert "there is no class 'raod' (did you mean 'road'?)" in told(WINDOW, shape("raod", [box(6, 4, 14, 10)]))
    assert "has no class; give it one" in told(WINDOW, shape(None, [box(6, 4, 14, 10)]))
    outside = told(WINDOW, ALL_ROAD, shape("sky", [box(20, 1, 25, 3)]))
    assert "the annotation of class 'sky' at x 20, y 1 lies outside the windows of all queries" in outside
    assert "holds the window of no region of this cycle, such as cycle-0003-000" in told(ALL_ROAD)
    assert "is not where it was drawn" in told(shape("query", [box(3, 2, 7, 5)], name=QUERY.id), ALL_ROAD)
    line = {"type": "Feature", "geometry": {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "properties": {}}
    assert "an annotation of class None is a LineString, which marks no area; delete it." in told(WINDOW, line)
    assert "is not a GeoJSON FeatureCollection of polygons" in told(WINDOW, {**line, "geometry": None})
    assert "is not a GeoJSON FeatureCollection" in told(WINDOW, shape("road", [[[1, 2], [float("nan"), 3], [4, 5]]]))
    assert "is not a GeoJSON FeatureCollection" in told(WINDOW, shape("road", [[[1, 2], [1e300, 3], [4, 5]]]))


def test_a_file_of_several_images_is_told(tmp_path):
    other = replace(QUERY, id="cycle-0003-001", image="train-b")
    frame = shape("query", [box(6, 4, 14, 10)], name=other.id)
    assert "mixes queries of several images" in refused(tmp_path, [WINDOW, frame, ALL_ROAD], [QUERY, other])


def test_two_files_that_answer_one_query_are_told(tmp_path):
    hand_back(tmp_path, [WINDOW, ALL_ROAD], "a.geojson")
    hand_back(tmp_path, [WINDOW, ALL_ROAD], "b.geojson")
    with pytest.raises(UserError, match=r"b.geojson: it answers cycle-0003-000, and so does a.geojson; keep one"):
        answers(tmp_path, [QUERY])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", "{}".encode("utf-16"), b"\xff\xfe\x00", b"PK\x03\x04"])
def test_files_that_are_no_geojson_are_told(tmp_path, content):
    file = hand_back(tmp_path, [])
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"exported.geojson: it is .*; (copy the file|export it) again\.$"):
        answers(tmp_path, [QUERY])


@given(st.data())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_cut_off_anywhere_is_told(tmp_path, data):
    file = hand_back(tmp_path, [WINDOW, ALL_ROAD])
    content = file.read_bytes()
    file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UserError, match=r"exported.geojson: it is"):
        answers(tmp_path, [QUERY])


def test_other_files_among_the_answers_are_told_and_hidden_ones_passed_over(tmp_path):
    hand_back(tmp_path, [WINDOW, ALL_ROAD])
    (tmp_path / "answers" / ".DS_Store").touch()
    assert len(answers(tmp_path, [QUERY])) == 1
    (tmp_path / "answers" / "project.qpproj").touch()
    with pytest.raises(UserError, match=r"project.qpproj: answers are files that end in \.geojson or \.json"):
        answers(tmp_path, [QUERY])


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    file = hand_back(tmp_path, [WINDOW, ALL_ROAD])
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert len(answers(tmp_path, [QUERY])) == 1


def test_rois_of_a_slide_are_answered_by_the_class_of_their_annotation(tmp_path):
    predicted = [None, np.array([1], np.uint8), None, None]
    queries = [query((9,), ((k, k + 1),), k, image="slide-7", prediction=label) for k, label in enumerate(predicted)]
    features = written(tmp_path, queries)["features"]
    classes = [feature["properties"]["classification"]["name"] for feature in features]
    assert classes == ["query", "sky", "query", "query"]
    assert [feature["properties"]["name"] for feature in features] == [query.id for query in queries]
    features[0]["properties"]["classification"] = {"names": ["car"]}
    features[2]["properties"]["classification"] = {"name": "skipped"}
    hand_back(tmp_path, features)
    assert [(a.query, a.labels if a.labels is None else a.labels.tolist()) for a in answers(tmp_path, queries)] == [
        (queries[0].id, [2]),
        (queries[1].id, [1]),
        (queries[2].id, None),
    ]
    features[0]["properties"]["classification"] = {"name": "tumour"}
    assert "there is no class 'tumour'" in refused(tmp_path, features, queries)


def test_a_mistake_hides_neither_another_one_nor_what_is_right(tmp_path):
    others = [replace(QUERY, id=f"cycle-0003-00{k}", window=((4, 10), (6 + 8 * k, 14 + 8 * k))) for k in (1, 2)]
    frames = [shape("query", [box(6 + 8 * k, 4, 14 + 8 * k, 10)], name=q.id) for k, q in enumerate([QUERY, *others])]
    drawn = [
        shape("raod", [box(6, 4, 14, 10)]),
        ALL_ROAD,
        shape("sky", [box(14, 4, 22, 10)]),
        shape("car", [box(22, 4, 23, 5)]),
    ]
    hand_back(tmp_path, [*frames, *drawn])
    right = []
    with pytest.raises(UserError) as error:
        right += GeoJson().read([QUERY, *others], CLASSES, tmp_path)
    assert [answer.query for answer in right] == [others[0].id]
    unknown, unmarked = str(error.value).splitlines()
    assert "cycle-0003-000: there is no class 'raod'" in unknown
    assert "47 pixel(s) in the region of cycle-0003-002 have no class" in unmarked


def test_the_table_says_who_skipped_answered_and_how_long_it_took(tmp_path):
    queries = [replace(QUERY, id=f"cycle-0003-{k:03d}", window=((4, 10), (6 + 8 * k, 14 + 8 * k))) for k in range(3)]
    written(tmp_path, queries)
    table = tmp_path / "answers.csv"
    heads, *rows = table.read_text().splitlines()
    assert heads == "query,image,window,class,skipped,annotator,seconds"
    assert rows[1] == "cycle-0003-001,train-a,4:10 14:22,,,,"
    lines = [
        "cycle-0003-000,train-a,4:10 6:14,,,ann,30",
        "cycle-0003-001,train-a,4:10 14:22,car,,bob,",
        "cycle-0003-002,train-a,4:10 22:30,,blurred,,2.5",
    ]
    table.write_text("\n".join([heads, *lines]))
    frames = [shape("query", [box(6 + 8 * k, 4, 14 + 8 * k, 10)], name=q.id) for k, q in enumerate(queries)]
    hand_back(tmp_path, [*frames, shape("sky", [box(6, 4, 30, 10)])])
    by_query = {answer.query: answer for answer in answers(tmp_path, queries)}
    first, second, third = (by_query[query.id] for query in queries)
    assert (first.labels.max(), first.annotator, first.seconds) == (1, "ann", 30)
    assert (second.labels.min(), second.annotator, second.seconds) == (2, "bob", None)
    assert (third.labels, third.reason, third.seconds) == (None, "blurred", 2.5)
    assert all(answer.answered_at.endswith("+00:00") for answer in by_query.values())


def test_pictures_that_nnunet_reads_as_volumes_of_one_slice_are_pictures(tmp_path):
    prediction = np.random.default_rng(0).integers(0, 3, (1, 6, 8)).astype(np.uint8)
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    one = query((1, 20, 30), ((0, 1), (4, 10), (6, 14)), files=[tmp_path / "a.png"], prediction=prediction)
    hand_back(tmp_path, written(tmp_path, [one])["features"])
    check(answers(tmp_path, [one]), [(one, prediction)])


def test_what_was_drawn_in_windows_of_earlier_cycles_is_passed_over(tmp_path):
    earlier = shape("query", [box(16, 0, 26, 3)], name="cycle-0002-007")
    there = shape("sky", [box(15, 0, 26, 3)])
    hand_back(tmp_path, [earlier, there, WINDOW, ALL_ROAD])
    (answer,) = answers(tmp_path, [QUERY])
    assert answer.labels.max() == 0
    assert "lies outside the windows" in refused(
        tmp_path, [earlier, shape("sky", [box(27, 0, 29, 3)]), WINDOW, ALL_ROAD]
    )
    assert "holds the window of no region of this cycle" in refused(tmp_path, [earlier, there])


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_file_with_anything_spoiled_is_read_or_told(tmp_path, data):
    described = {"name": QUERY.id, "metadata": {DESCRIPTION: "dark"}, "isLocked": True}
    frame = shape(data.draw(st.sampled_from(["query", "skipped"])), [box(6, 4, 14, 10)], **described)
    inner = shape("sky", [box(6, 4, 8, 5)], [box(9, 4, 10, 5), box(9.2, 4.2, 9.8, 4.8)])
    hand_back(tmp_path, spoiled(data.draw, [frame, shape("road", [box(6, 4, 14, 10)], childObjects=[inner])]))
    try:
        found, told = answers(tmp_path, [QUERY]), "exported.geojson: "
    except UserError as error:
        found, told = [], str(error)
    assert "exported.geojson: " in told
    assert all(answer.labels is None or answer.labels.shape == (6, 8) for answer in found)
