import base64
import json
from dataclasses import replace
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from helpers.annotating import CLASSES, WITH_NONE, asked, check, query, spoiled, with_files
from helpers.pictures import jpeg, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from decomp.platform.annotation import label_studio
from decomp.platform.annotation.brush import encode
from decomp.platform.annotation.label_studio import LabelStudio
from decomp.platform.annotation.outlines import trace
from decomp.platform.annotation.query import Classes
from decomp.platform.errors import UserError

H, W = 20, 30
PIXELS = np.random.default_rng(0).integers(0, 256, (H, W, 3), np.uint8)
WINDOW = ((4, 10), (6, 14))


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(png(PIXELS, kind="rgb"))
    return file


@pytest.fixture
def cycle(tmp_path):
    (tmp_path / "decomp-1" / "cycle-0003" / "answers").mkdir(parents=True)
    return tmp_path / "decomp-1" / "cycle-0003"


def written(cycle, queries, classes=CLASSES, **options):
    file = LabelStudio(**options).write(queries, classes, cycle)
    assert file == cycle / "label-studio.json"
    return json.loads(file.read_text())


def submitted(task, result, **fields):
    """A task as Label Studio exports it, with an annotation."""
    annotation = {
        "id": 7,
        "result": result,
        "completed_by": 3,
        "was_cancelled": False,
        "lead_time": 12.5,
        "created_at": "2026-03-09T22:16:08.728353Z",
        "updated_at": "2026-03-09T22:17:08.728353Z",
    }
    return {"id": 1, "data": task["data"], "annotations": [annotation | fields], "predictions": [3], "meta": {}}


def export(cycle, *tasks, name="project-1.json"):
    file = cycle / "answers" / name
    file.write_text(json.dumps(tasks))
    return file


def shape(kind, control, label, value, **fields):
    size = {"original_width": W, "original_height": H, "image_rotation": 0}
    labels = [] if label is None else [label]
    return {
        "id": "x",
        "type": kind,
        "from_name": control,
        "to_name": "image",
        "value": {**value, kind: labels},
        **size,
        **fields,
    }


def painted(mask, label, **fields):
    height, width = mask.shape
    size = {"original_width": width, "original_height": height}
    return shape("brushlabels", "brush", label, {"format": "rle", "rle": encode(mask)}, **size | fields)


def outlined(ring, label, **fields):
    points = (np.array(ring) * (100 / W, 100 / H)).tolist()
    return shape("polygonlabels", "polygon", label, {"points": points, "closed": True, **fields})


def everywhere(label, window=WINDOW):
    mask = np.zeros((H, W), np.bool_)
    mask[tuple(slice(*bounds) for bounds in window)] = True
    return painted(mask, label)


def answers(cycle, queries, classes=CLASSES, **options):
    return list(LabelStudio(**options).read(queries, classes, cycle))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([CLASSES, WITH_NONE]).flatmap(lambda classes: st.tuples(st.just(classes), asked(classes))),
    st.booleans(),
)
def test_an_annotator_who_draws_the_truth_gives_the_truth(tmp_path_factory, drawn, with_polygons):
    classes, pairs = drawn
    folder = tmp_path_factory.mktemp("cycle")
    (folder / "answers").mkdir()
    (folder / "a.png").write_bytes(png(np.zeros(pairs[0][0].shape)))
    pairs = with_files(pairs, folder / "a.png")
    tasks = written(folder, [query for query, _ in pairs], classes)
    done = []
    for task, (one, truth) in zip(tasks, pairs, strict=True):
        own = [r for r in task["predictions"][0]["result"] if r["from_name"] in ("window", "region")]
        drawn = [r for label, name in classes.labels.items() for r in shapes(one, truth == label, name, with_polygons)]
        done.append(submitted(task, own + drawn))
    export(folder, *done)
    check(answers(folder, [query for query, _ in pairs], classes), pairs)


def shapes(one, inside, name, with_polygons):
    """The shapes that mark the pixels of a window that hold: polygons, or a brush mask instead of holes."""
    whole = np.zeros(one.shape, np.bool_)
    whole[one.slices] = inside
    size = {"original_width": one.shape[1], "original_height": one.shape[0]}
    polygons = trace(whole)
    if not with_polygons or any(len(polygon) > 1 for polygon in polygons):
        return [painted(whole, name)] if whole.any() else []
    scale = (100 / one.shape[1], 100 / one.shape[0])
    values = [{"points": (ring * scale).tolist(), "closed": True} for polygon in polygons for ring in polygon]
    return [shape("polygonlabels", "polygon", name, value, **size) for value in values]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked())
def test_a_prediction_that_is_submitted_as_it_is_comes_back(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("cycle")
    (folder / "answers").mkdir()
    (folder / "a.png").write_bytes(png(np.zeros(pairs[0][0].shape)))
    queries = [one for one, _ in with_files(pairs, folder / "a.png") if one.prediction is not None]
    tasks = written(folder, queries)
    export(folder, *(submitted(task, task["predictions"][0]["result"]) for task in tasks))
    if queries:
        check(answers(folder, queries), [(one, one.prediction) for one in queries])


def test_the_window_is_a_rectangle_in_percent_and_cannot_be_moved(picture, cycle):
    mask = np.zeros((6, 8), np.bool_)
    mask[1:3, 2:4] = True
    one = query((H, W), WINDOW, files=[picture], mask=mask, prediction=np.ones((6, 8), np.uint8))
    (task,) = written(cycle, [one])
    window, region, prediction = task["predictions"][0]["result"]
    assert window["value"] == {
        "x": 20,
        "y": 20,
        "width": pytest.approx(100 * 8 / 30),
        "height": 30,
        "rotation": 0,
        "rectanglelabels": ["window"],
    }
    corners = np.round(np.array(region["value"]["points"]) * (W / 100, H / 100), 6)
    assert {*map(tuple, corners)} == {(8, 5), (10, 5), (10, 7), (8, 7)}
    assert (window["readonly"], region["readonly"], prediction["readonly"]) == (True, True, False)
    assert prediction["value"]["brushlabels"] == ["sky"]
    assert task["data"] | {"image": ""} == {
        "image": "",
        "query": "cycle-0003-000",
        "image_id": "train-a",
        "window": [[4, 10], [6, 14]],
    }


def test_the_configuration_has_all_classes_and_hides_what_shows_the_query(picture, cycle):
    written(cycle, [query((H, W), WINDOW, files=[picture])], Classes(("a & b", '"c"', "<d>"), ignore=255))
    view = ElementTree.fromstring((cycle / "label-studio.xml").read_text())
    for control in ("brush", "polygon"):
        (found,) = view.findall(f"./*[@name='{control}']")
        assert [label.get("value") for label in found] == ["a & b", '"c"', "<d>", "no class"]
        assert len({label.get("background") for label in found}) == 4
    assert {control.get("name") for control in view.find("./View[@style='display: none']")} == {"window", "region"}


def test_images_lie_in_the_file_or_beside_it_where_a_server_shows_them(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])
    kind, content = task["data"]["image"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == picture.read_bytes()
    (cycle / "label-studio.json").unlink()
    (task,) = written(cycle, [one], address="/data/local-files/?d=runs/")
    assert task["data"]["image"] == "/data/local-files/?d=runs/decomp-1/cycle-0003/images/train-a.png"
    assert (cycle / "images" / "train-a.png").read_bytes() == picture.read_bytes()


def test_several_queries_about_an_image_share_its_file(picture, cycle):
    queries = [query((H, W), ((k, k + 1), (0, 5)), k, files=[picture]) for k in range(3)]
    tasks = written(cycle, queries, address="http://images/")
    assert {task["data"]["image"] for task in tasks} == {"http://images/decomp-1/cycle-0003/images/train-a.png"}


def test_what_is_there_already_is_left_alone(picture, cycle):
    (cycle / "label-studio.json").write_text("[]")
    assert written(cycle, [query((H, W), WINDOW, files=[picture])]) == []


def test_the_later_shape_wins_and_shapes_are_cut_off_at_the_window(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])
    stroke = np.zeros((H, W), np.bool_)
    stroke[2:6, 3:9] = True
    result = [
        outlined([(-10, -10), (40, -10), (40, 40), (-10, 40)], "road"),
        painted(stroke, "sky"),
        outlined([(6, 4), (7.4, 4), (7.4, 5), (6, 5)], "car"),
    ]
    export(cycle, submitted(task, result))
    (answer,) = answers(cycle, [one])
    expected = np.zeros((6, 8), np.uint8)
    expected[:2, :3] = 1
    expected[0, 0] = 2
    np.testing.assert_array_equal(answer.labels, expected)
    assert (answer.annotator, answer.seconds, answer.answered_at) == ("3", 12.5, "2026-03-09T22:17:08.728353Z")


def test_a_skipped_task_has_the_reason_that_was_written(picture, cycle):
    queries = [query((H, W), ((k, k + 1), (0, 5)), k, files=[picture]) for k in range(2)]
    tasks = written(cycle, queries)
    said = {
        "id": "r",
        "type": "textarea",
        "from_name": "reason",
        "to_name": "image",
        "value": {"text": ["too", "dark"]},
    }
    done = [submitted(tasks[0], [said], was_cancelled=True), submitted(tasks[1], [], was_cancelled=True)]
    export(cycle, *done)
    assert [(a.labels, a.reason) for a in answers(cycle, queries)] == [(None, "too dark"), (None, None)]


def test_the_annotation_changed_last_counts_and_rather_than_a_skip(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])
    early = submitted(task, [everywhere("road")], updated_at="2026-03-01T00:00:00Z")
    late = submitted(task, [everywhere("sky")], updated_at="2026-03-02T00:00:00Z", completed_by={"email": "a@b.org"})
    skip = submitted(task, [], updated_at="2026-03-03T00:00:00Z", was_cancelled=True)
    task_with_two = late | {"annotations": late["annotations"] + early["annotations"] + skip["annotations"]}
    export(cycle, task_with_two)
    (answer,) = answers(cycle, [one])
    assert (answer.labels.max(), answer.annotator) == (1, "a@b.org")
    export(cycle, submitted(task, [everywhere("car")], updated_at="2026-03-04T00:00:00Z"), name="another.json")
    assert answers(cycle, [one])[0].labels.max() == 2


def test_tasks_without_an_annotation_and_tasks_of_other_cycles_are_passed_over(picture, cycle):
    queries = [query((H, W), WINDOW, k, files=[picture]) for k in range(2)]
    first, second = written(cycle, queries)
    other = {"data": first["data"] | {"query": "cycle-0002-000"}}
    export(cycle, submitted(other, [everywhere("road")]), {**submitted(first, []), "annotations": []})
    assert answers(cycle, queries) == []
    export(cycle, submitted(other, [everywhere("road")]), submitted(second, [everywhere("road")]))
    assert [answer.query for answer in answers(cycle, queries)] == [queries[1].id]


def test_pixels_that_nobody_marked_are_told_or_of_no_class_or_of_the_rest(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])
    export(cycle, submitted(task, [everywhere("sky", ((4, 9), (6, 14)))]))
    with pytest.raises(UserError, match=r"project-1.json: 8 pixel\(s\) in the region of cycle-0003-000 have no class"):
        answers(cycle, [one])
    assert answers(cycle, [one], WITH_NONE)[0].labels[-1].tolist() == [255] * 8
    export(cycle, submitted(task, []))
    with pytest.raises(
        UserError, match=r"nothing of the region of cycle-0003-000 is marked; mark it, or skip the task"
    ):
        answers(cycle, [one], WITH_NONE)
    export(cycle, submitted(task, [everywhere("sky", ((4, 9), (6, 14)))]))
    assert answers(cycle, [one], rest="car")[0].labels[-1].tolist() == [2] * 8


def test_what_does_not_fit_is_told_in_a_sentence(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])

    def told(*result, **fields):
        file = export(cycle, submitted(task, [everywhere("road"), *result], **fields))
        with pytest.raises(UserError) as error:
            answers(cycle, [one])
        message = str(error.value)
        assert message.startswith(f"{file}: ")
        assert message.endswith(".")
        assert "\n" not in message
        return message

    mask = np.zeros((H, W), np.bool_)
    mask[5, 7] = mask[15, 20] = True
    assert "a shape of cycle-0003-000 has 1 stroke(s) outside the window" in told(painted(mask, "sky"))
    mask[5, 7] = False
    assert "has 1 stroke(s) outside the window" in told(painted(mask, "sky"))
    assert "covers no pixel of the window" in told(outlined([(20, 1), (25, 1), (25, 3)], "sky"))
    assert "there is no class 'raod' (did you mean 'road'?)" in told(everywhere("raod"))
    assert "has no class; give it one class" in told(everywhere(None))
    several = everywhere("road")
    several["value"]["brushlabels"] = ["road", "sky"]
    assert "has the classes road, sky; give it one class" in told(several)
    small = painted(np.ones((10, 15), np.bool_), "sky")
    assert "is of an image of 10 x 15 pixels, and train-a has 20 x 30" in told(small)
    assert "drawn on the image turned" in told(everywhere("sky") | {"image_rotation": 90})
    broken = everywhere("sky")
    broken["value"]["rle"] = broken["value"]["rle"][:-3]
    assert "its brush mask is cut off" in told(broken)
    assert "is an unfinished polygon" in told(outlined([(6, 4), (9, 4)], "sky"))
    assert "is an unfinished polygon" in told(outlined([(6, 4), (9, 4), (9, 8)], "sky", closed=False))
    ellipse = {"x": 20, "y": 20, "radiusX": 5, "radiusY": 5}
    assert "of the kind 'ellipselabels'" in told(shape("ellipselabels", "ellipse", "sky", ellipse))


def test_an_export_of_another_project_is_told(picture, cycle):
    one = query((H, W), WINDOW, files=[picture])
    (task,) = written(cycle, [one])
    moved = {"data": task["data"] | {"window": [[0, 6], [0, 8]]}}
    other = {"data": task["data"] | {"query": "cycle-0002-000"}}
    foreign = {"data": {"image": "x.png"}}
    for wrong, told in [
        (moved, "is of another run"),
        (other, "answers cycle-0002-000"),
        (foreign, "decomp did not write"),
    ]:
        export(cycle, submitted(wrong, [everywhere("road")]))
        with pytest.raises(UserError, match=f"project-1.json: .*{told}"):
            answers(cycle, [one])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"null",
        b"[1]",
        b'[{"image": "x"}]',
        "[]".encode("utf-16"),
        b"id,image\n1,2\n",
        b'[{"data": {}, "annotations": [{"result": [], "lead_time": NaN}]}]',
    ],
)
def test_files_that_are_no_export_are_told(picture, cycle, content):
    (cycle / "answers" / "project-1.json").write_bytes(content)
    with pytest.raises(UserError, match=r"project-1.json: it is .*; (copy the file|export it) again\.$"):
        answers(cycle, [query((H, W), WINDOW, files=[picture])])


def test_other_files_among_the_answers_are_told(picture, cycle):
    (cycle / "answers" / "project-1.csv").touch()
    with pytest.raises(UserError, match=r"project-1.csv: answers are files that end in \.json; save it as such"):
        answers(cycle, [query((H, W), WINDOW, files=[picture])])


def test_images_of_other_kinds_are_shown_as_png(tmp_path, cycle):
    deep = np.linspace(1000, 3000, H * W).reshape(H, W)
    (tmp_path / "deep.png").write_bytes(png(deep, bits=16))
    (tmp_path / "turned.jpg").write_bytes(jpeg(PIXELS, orientation=6))
    shapes = {"deep.png": (H, W), "turned.jpg": (W, H)}
    queries = [
        query(size, ((0, 1), (0, 1)), k, image=name, files=[tmp_path / name])
        for k, (name, size) in enumerate(shapes.items())
    ]
    shown = []
    for task in written(cycle, queries):
        kind, content = task["data"]["image"].split(",")
        assert kind == "data:image/png;base64"
        shown.append(cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_UNCHANGED))
    assert [picture.shape for picture in shown] == [(H, W, 3), (W, H, 3)]
    assert shown[0].dtype == np.uint8
    assert (shown[0].min(), shown[0].max()) == (0, 255)


def test_images_that_a_browser_cannot_show_are_refused(tmp_path, picture, cycle):
    volume = query((4, 5, 6), ((0, 1), (0, 5), (0, 6)), files=[picture])
    for wrong, told in [
        (volume, "shows images of two axes"),
        (query((H, W), WINDOW), "needs a file of the image train-a"),
        (query((H, W), WINDOW, files=[tmp_path / "gone.png"]), "gone.png: it is missing"),
    ]:
        with pytest.raises(UserError, match=told):
            LabelStudio().write([wrong], CLASSES, cycle)


def test_an_unknown_rest_is_told_before_anything_is_written(picture, cycle):
    with pytest.raises(UserError, match=r"^annotation.rest: there is no class 'cra' \(did you mean 'car'\?\)"):
        LabelStudio(rest="cra").write([query((H, W), WINDOW, files=[picture])], CLASSES, cycle)
    assert [file.name for file in cycle.iterdir()] == ["answers"]


def test_a_mistake_hides_neither_another_one_nor_what_is_right(picture, cycle):
    queries = [query((H, W), ((k, k + 1), (0, 5)), k, files=[picture]) for k in range(3)]
    tasks = written(cycle, queries)
    results = [[everywhere(name, one.window)] for name, one in zip(("raod", "sky", "cra"), queries, strict=True)]
    export(cycle, *(submitted(task, result) for task, result in zip(tasks, results, strict=True)))
    right = []
    with pytest.raises(UserError) as error:
        right += LabelStudio().read(queries, CLASSES, cycle)
    assert [answer.query for answer in right] == [queries[1].id]
    assert ["'raod'" in line or "'cra'" in line for line in str(error.value).splitlines()] == [True, True]


def test_the_file_is_the_same_for_the_same_queries(picture, cycle):
    one = query((H, W), WINDOW, files=[picture], prediction=np.ones((6, 8), np.uint8))
    first = written(cycle, [one])
    (cycle / "label-studio.json").unlink()
    assert written(cycle, [replace(one)]) == first


def test_tasks_that_label_studio_would_not_import_are_refused(picture, cycle, monkeypatch):
    monkeypatch.setattr(label_studio, "LARGEST", 10_000)
    queries = [query((H, W), ((k, k + 1), (0, 5)), k, files=[picture]) for k in range(5)]
    with pytest.raises(UserError, match=r"^annotation.format: the tasks with their images .*annotation.address"):
        LabelStudio().write(queries, CLASSES, cycle)
    assert not (cycle / "label-studio.json").exists()
    assert len(written(cycle, queries, address="http://images/")) == 5


def test_pictures_that_nnunet_reads_as_volumes_of_one_slice_are_pictures(picture, cycle):
    mask = np.ones((1, 6, 8), np.bool_)
    mask[0, 0] = False
    prediction = np.random.default_rng(0).integers(0, 3, (1, 6, 8)).astype(np.uint8)
    one = query((1, H, W), ((0, 1), *WINDOW), files=[picture], mask=mask, prediction=prediction)
    (task,) = written(cycle, [one])
    export(cycle, submitted(task, task["predictions"][0]["result"]))
    (answer,) = answers(cycle, [one])
    assert answer.labels.shape == (1, 6, 8)
    np.testing.assert_array_equal(answer.labels[mask], prediction[mask])


def test_a_picture_that_has_changed_its_size_is_told(picture, cycle):
    with pytest.raises(UserError, match=r"a.png: it has 20 x 30 pixels, and had 20 x 31 when its"):
        LabelStudio().write([query((H, W + 1), WINDOW, files=[picture])], CLASSES, cycle)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_export_with_anything_spoiled_is_read_or_told(picture, cycle, data):
    mask = np.eye(6, 8) > 0
    one = query((H, W), WINDOW, files=[picture], mask=mask, prediction=np.ones((6, 8), np.uint8))
    (task,) = written(cycle, [one])
    said = {"type": "textarea", "from_name": "reason", "value": {"text": ["dark"]}}
    ring = outlined([(6, 4), (14, 4), (14, 10), (6, 10)], "road")
    result = [*task["predictions"][0]["result"], ring, everywhere("sky"), said]
    skipped = data.draw(st.booleans())
    export(cycle, spoiled(data.draw, submitted(task, result, was_cancelled=skipped)))
    try:
        found, told = answers(cycle, [one]), "project-1.json: "
    except UserError as error:
        found, told = [], str(error)
    assert "project-1.json: " in told
    assert all(answer.labels is None or answer.labels.shape == (6, 8) for answer in found)
