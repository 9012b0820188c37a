"""Against a real server: install label-studio in an environment of its own, and name its program in LABEL_STUDIO."""

import json
from dataclasses import replace

import numpy as np
import pytest
from helpers.annotating import WITH_NONE, query
from helpers.label_studio import PROGRAM, served
from helpers.pictures import png

from decomp.platform.annotation.label_studio import LabelStudio
from decomp.platform.annotation.outlines import trace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="Label Studio is not installed (LABEL_STUDIO names its program)"),
]

H, W, N = 40, 60, 4
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    root = {"LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(tmp_path_factory.getbasetemp())}
    with served(
        tmp_path_factory.mktemp("label-studio"), LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED="true", **root
    ) as server:
        yield server


@pytest.fixture
def cycle(tmp_path):
    (tmp_path / "decomp-1" / "cycle-0003" / "answers").mkdir(parents=True)
    return tmp_path / "decomp-1" / "cycle-0003"


@pytest.fixture
def queries(tmp_path):
    (tmp_path / "a.png").write_bytes(png(RNG.integers(0, 256, (H, W, 3)), kind="rgb"))
    return [
        query(
            (H, W),
            ((9 * k, 9 * k + 8), (5 * k, 5 * k + 11)),
            k,
            files=[tmp_path / "a.png"],
            mask=RNG.random((8, 11)) < 0.8 if k % 2 else None,
            prediction=RNG.choice([0, 1, 2, 255], (8, 11)).astype(np.uint8),
        )
        for k in range(N)
    ]


@pytest.fixture
def project(server, cycle, queries):
    """A project into which the tasks of a cycle were imported."""
    tasks = json.loads(LabelStudio().write(queries, WITH_NONE, cycle).read_text())
    config = (cycle / "label-studio.xml").read_text()
    project = server.call("POST", "/projects", {"title": "scenes", "label_config": config})["id"]
    imported = server.call("POST", f"/projects/{project}/import?return_task_ids=true", tasks)
    assert (imported["task_count"], imported["prediction_count"]) == (N, N)
    return Project(server, project, imported["task_ids"], cycle, queries)


class Project:
    def __init__(self, server, number, tasks, cycle, queries):
        self.server, self.number, self.tasks, self.cycle, self.queries = server, number, tasks, cycle, queries

    def predicted(self, task):
        (prediction,) = self.server.call("GET", f"/tasks/{self.tasks[task]}")["predictions"]
        return prediction["result"]

    def submit(self, task, result, **fields):
        return self.server.call("POST", f"/tasks/{self.tasks[task]}/annotations", {"result": result, **fields})

    def answers(self):
        exported = self.server.call("GET", f"/projects/{self.number}/export?exportType=JSON")
        (self.cycle / "answers" / "export.json").write_text(json.dumps(exported))
        return list(LabelStudio().read(self.queries, WITH_NONE, self.cycle))


def test_predictions_that_are_submitted_come_back_as_they_were(project):
    for task in range(N):
        project.submit(task, project.predicted(task), lead_time=10.5 + task)
    answers = project.answers()
    assert [answer.query for answer in answers] == [one.id for one in project.queries]
    for number, (answer, one) in enumerate(zip(answers, project.queries, strict=True)):
        np.testing.assert_array_equal(answer.labels[one.inside], one.prediction[one.inside])
        assert answer.seconds == 10.5 + number
        assert answer.annotator == "1"
        assert answer.answered_at.endswith("Z")


def test_true_masks_as_brush_strokes_and_polygons_come_back(project, tmp_path):
    truth = [RNG.integers(0, 3, one.size).astype(np.uint8) for one in project.queries]
    truth[1][...] = 0
    truth[1][2:5, 3:7] = 2
    for task, (one, labels) in enumerate(zip(project.queries, truth, strict=True)):
        project.submit(task, outlined(one, labels) if task == 1 else drawn(one, labels, tmp_path / str(task)))
    for answer, one, labels in zip(project.answers(), project.queries, truth, strict=True):
        np.testing.assert_array_equal(answer.labels[one.inside], labels[one.inside])


def test_skipped_tasks_come_back_with_their_reason_and_open_ones_do_not(project):
    reason = {"id": "r", "type": "textarea", "from_name": "reason", "to_name": "image", "value": {"text": ["blurred"]}}
    project.submit(0, [reason], was_cancelled=True)
    project.submit(2, project.predicted(2))
    first, second = project.answers()
    assert (first.query, first.labels, first.reason) == (project.queries[0].id, None, "blurred")
    assert (second.query, second.reason) == (project.queries[2].id, None)


def test_an_annotation_that_is_corrected_comes_back_corrected(project):
    annotation = project.submit(0, project.predicted(0))
    assert len(project.answers()) == 1
    window, *_ = project.predicted(0)
    corrected = drawn(project.queries[0], np.full((8, 11), 2, np.uint8), project.cycle / "corrected")
    project.server.call("PATCH", f"/annotations/{annotation['id']}", {"result": [window, *corrected]})
    (answer,) = project.answers()
    assert (answer.labels == 2).all()


def test_images_beside_the_tasks_are_shown_where_the_server_may_read_their_folder(
    server, cycle, queries, tmp_path, tmp_path_factory
):
    within = tmp_path.relative_to(tmp_path_factory.getbasetemp())
    tasks = json.loads(LabelStudio(f"/data/local-files/?d={within}/").write(queries, WITH_NONE, cycle).read_text())
    config = (cycle / "label-studio.xml").read_text()
    project = server.call("POST", "/projects", {"title": "beside", "label_config": config})["id"]
    storage = {"project": project, "path": str(tmp_path), "use_blob_urls": True}
    server.call("POST", "/storages/localfiles", storage)
    server.call("POST", f"/projects/{project}/import", tasks)
    assert server.read(tasks[0]["data"]["image"]) == queries[0].files[0].read_bytes()


def drawn(one, labels, folder):
    """The brush masks of labels, as they are written for a prediction."""
    folder.mkdir()
    (task,) = json.loads(LabelStudio().write([replace(one, prediction=labels)], WITH_NONE, folder).read_text())
    return [shape for shape in task["predictions"][0]["result"] if shape["type"] == "brushlabels"]


def outlined(one, labels):
    """A polygon of each class, the greatest first, without its holes."""
    present = sorted(np.unique(labels).tolist(), key=lambda label: -int((labels == label).sum()))
    corner = [start for start, _ in reversed(one.window)]
    size = {"original_width": W, "original_height": H, "image_rotation": 0}
    shapes = []
    for label in present:
        ((ring, *_),) = trace(labels == label)
        name, points = WITH_NONE.names[label], (np.array(corner) + ring) * (100 / W, 100 / H)
        value = {"points": points.tolist(), "closed": True, "polygonlabels": [name]}
        kind = {"id": name, "type": "polygonlabels", "from_name": "polygon", "to_name": "image"}
        shapes.append({**kind, **size, "value": value})
    return shapes
