from dataclasses import replace

import cv2
import nibabel
import numpy as np
import pytest
from helpers.annotators import fill_in
from PIL import Image

from decomp.platform.annotation.colours import class_colours
from decomp.platform.annotation.folders import Folders
from decomp.platform.annotation.query import Classes, Query
from decomp.platform.errors import UserError

CLASSES = Classes(("ground", "square", "disc"), 255)
LABELS = np.random.default_rng(0).integers(0, 3, (6, 8)).astype(np.uint8)


@pytest.fixture
def queries(tmp_path):
    """Two windows of a picture; a prediction for the second one."""
    file = tmp_path / "s1.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 60, 3)).astype(np.uint8)).save(file)
    first = Query("cycle-0001-001", "train-s1", (file,), (40, 60), ((4, 10), (50, 58)))
    return first, replace(first, id="cycle-0001-002", window=((20, 26), (0, 8)), prediction=LABELS)


@pytest.fixture
def folder(tmp_path, queries):
    place = tmp_path / "asked"
    place.mkdir()
    assert Folders().write(queries, CLASSES, place) == place
    return place


def read(queries, folder, classes=CLASSES):
    return {answer.query: answer for answer in Folders().read(queries, classes, folder)}


def mistake(queries, folder, classes=CLASSES):
    """The sentence about a mistake; the answers that were read all the same."""
    answers = {}
    came = Folders().read(queries, classes, folder)
    with pytest.raises(UserError) as error:
        answers.update((answer.query, answer) for answer in came)
    return str(error.value), answers


def put(folder, query, values, name=None):
    Image.fromarray(values).save(folder / "masks" / f"{name or query.id}.png")


def test_crops_show_the_pixels_of_the_original_file(queries, folder):
    pixels = cv2.imread(str(queries[0].files[0]))
    for query in queries:
        assert np.array_equal(cv2.imread(str(folder / "images" / f"{query.id}.png")), pixels[query.slices])
    assert (folder / "context" / "cycle-0001-001.png").is_file()


def test_a_prediction_comes_as_a_mask_that_can_be_given_back(queries, folder):
    assert [file.name for file in (folder / "predictions").iterdir()] == ["cycle-0001-002.png"]
    (folder / "predictions" / "cycle-0001-002.png").rename(folder / "masks" / "cycle-0001-002.png")
    assert np.array_equal(read(queries, folder)["cycle-0001-002"].labels, LABELS)


def test_nothing_has_come_back_at_first(queries, folder):
    assert read(queries, folder) == {}


@pytest.mark.parametrize("mode", ["grey", "palette", "RGB"])
def test_masks_are_grey_palette_or_coloured(queries, folder, mode):
    mask = {
        "grey": Image.fromarray(LABELS),
        "palette": Image.fromarray(LABELS, "P"),
        "RGB": Image.fromarray(np.array(class_colours(3), np.uint8)[LABELS]),
    }[mode]
    if mode == "palette":
        mask.putpalette([value for k in range(256) for value in (k, 255 - k, 9)])
    mask.save(folder / "masks" / "cycle-0001-001.png")
    assert np.array_equal(read(queries, folder)["cycle-0001-001"].labels, LABELS)


def test_pixels_may_be_of_no_class_where_the_data_set_allows_it(queries, folder):
    put(folder, queries[0], np.where(LABELS == 2, 255, LABELS).astype(np.uint8))
    assert (read(queries, folder)["cycle-0001-001"].labels == 255).sum() == (LABELS == 2).sum()
    sentence, _ = mistake(queries, folder, Classes(CLASSES.names))
    assert sentence.endswith("255 is no class; classes.csv has the values and colours of the classes.")


def test_a_line_of_the_table_answers_for_a_whole_region(queries, folder):
    fill_in(folder, queries[1], **{"class": "disc", "annotator": "ada", "seconds": "3,5"})
    answer = read(queries, folder)["cycle-0001-002"]
    assert (answer.labels == 2).all()
    assert (answer.annotator, answer.seconds) == ("ada", 3.5)
    assert answer.answered_at.endswith("+00:00")


def test_the_table_may_be_saved_by_a_spreadsheet(queries, folder):
    fill_in(folder, queries[0], skipped="blurred")
    table = folder / "answers.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b",", b";").replace(b"\n", b"\r\n"))
    assert read(queries, folder)["cycle-0001-001"].reason == "blurred"


def test_only_the_pixels_of_an_irregular_region_count(queries, folder):
    inside = np.zeros((6, 8), bool)
    inside[2:4, 1:5] = True
    irregular = (replace(queries[0], mask=inside), queries[1])
    put(folder, queries[0], np.where(inside, LABELS, 77).astype(np.uint8))
    assert np.array_equal(read(irregular, folder)["cycle-0001-001"].labels[inside], LABELS[inside])
    put(folder, queries[0], np.where(inside, 77, LABELS).astype(np.uint8))
    assert "77 is no class" in mistake(irregular, folder)[0]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f, q: put(f, q, LABELS[:5]), "it has 5 x 8 pixels, but the window of cycle-0001-001 has 6 x 8"),
        (lambda f, q: put(f, q, LABELS + np.uint8(1)), "3 is no class"),
        (lambda f, q: put(f, q, np.zeros((6, 8, 3), np.uint8)), "#000000 is no class"),
        (lambda f, q: put(f, q, LABELS, "cycle-0002-001"), "there is no such region in this cycle"),
        (lambda f, q: (f / "masks" / f"{q.id}.jpg").write_bytes(b""), "save it as cycle-0001-001.png"),
        (lambda f, q: (f / "masks" / f"{q.id}.png").write_bytes(b"PNG"), "cycle-0001-001.png"),
        (
            lambda f, q: fill_in(f, q, **{"class": "dics"}),
            "there is no class 'dics' (did you mean 'disc'?); the classes",
        ),
        (lambda f, q: fill_in(f, q, skipped="x", **{"class": "disc"}), "is skipped, but there is a class as well"),
        (lambda f, q: fill_in(f, q, skipped="x", seconds="soon"), "seconds must be a number, not 'soon'"),
        (lambda f, q: fill_in(f, q, query="cycle-0009-001"), "there is no region 'cycle-0009-001' in this cycle"),
        (lambda f, q: (f / "answers.csv").write_bytes(b"a,b\n"), "has no column 'query'"),
        (lambda f, q: (f / "answers.csv").write_bytes(b"\xff\xfe"), "is no text in UTF-8"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file(queries, folder, spoil, sentence):
    spoil(folder, queries[0])
    told, _ = mistake(queries, folder)
    assert sentence in told
    assert str(folder) in told
    assert told.count("\n") == 0


def test_a_mistake_takes_nothing_from_other_answers(queries, folder):
    put(folder, queries[0], LABELS[:5])
    put(folder, queries[1], LABELS)
    _, answers = mistake(queries, folder)
    assert list(answers) == ["cycle-0001-002"]


def test_a_broken_table_takes_nothing_from_the_masks(queries, folder):
    put(folder, queries[0], LABELS)
    (folder / "answers.csv").write_bytes(b"a,b\n")
    told, answers = mistake(queries, folder)
    assert "has no column 'query'" in told
    assert list(answers) == ["cycle-0001-001"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_palette_that_a_program_has_put_in_another_order_counts_by_its_colours(queries, folder, order):
    mask = Image.fromarray(np.array(order, np.uint8)[LABELS], "P")
    palette = np.zeros((256, 3), np.uint8)
    palette[list(order)] = class_colours(3)
    mask.putpalette(palette.ravel().tolist())
    mask.save(folder / "masks" / f"{queries[0].id}.png")
    assert np.array_equal(read(queries, folder)[queries[0].id].labels, LABELS)


def test_a_palette_in_another_order_with_other_colours_is_told(queries, folder):
    mask = Image.fromarray(np.where(LABELS == 0, 255, 3 - LABELS).astype(np.uint8), "P")
    palette = np.zeros((256, 3), np.uint8)
    palette[[2, 1]] = class_colours(3)[1:]
    mask.putpalette(palette.ravel().tolist())
    mask.save(folder / "masks" / f"{queries[0].id}.png")
    assert "has a palette in another order" in mistake(queries, folder)[0]


def test_writing_again_leaves_alone_what_the_annotator_has_done(queries, folder):
    fill_in(folder, queries[0], skipped="blurred")
    put(folder, queries[1], LABELS)
    (folder / "images" / "cycle-0001-001.png").unlink()
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    Folders().write(queries, CLASSES, folder)
    assert {file: file.read_bytes() for file in before} == before
    assert (folder / "images" / "cycle-0001-001.png").is_file()


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
@pytest.mark.parametrize("window", [((3, 9), (2, 10), (4, 5)), ((3, 9), (2, 10), (4, 7)), ((5, 6), (2, 10), (4, 9))])
def test_a_window_of_a_volume_comes_back_in_the_voxels_of_its_file(tmp_path, window, ending):
    voxels = np.random.default_rng(2).integers(0, 900, (12, 14, 10)).astype(np.int16)
    file = tmp_path / f"case_0000{ending}"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), file)
    truth = np.random.default_rng(3).integers(0, 3, voxels.shape).astype(np.uint8)
    query = Query("cycle-0001-001", "case", (file,), voxels.shape, window)
    query = replace(query, prediction=truth[query.slices])
    Folders().write([query], CLASSES, tmp_path)
    assert len(list((tmp_path / "images").iterdir())) == min(query.size) if 1 in query.size else 3
    for mask in (tmp_path / "predictions").iterdir():
        mask.rename(tmp_path / "masks" / mask.name)
    (answer,) = Folders().read([query], CLASSES, tmp_path)
    assert np.array_equal(answer.labels, truth[query.slices])


def test_a_volume_is_answered_when_all_its_slices_are(tmp_path):
    file = tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.int16), np.eye(4)), file)
    query = Query("cycle-0001-001", "case", (file,), (8, 8, 8), ((0, 4), (0, 4), (2, 4)))
    Folders().write([query], CLASSES, tmp_path)
    put(tmp_path, query, np.zeros((4, 4), np.uint8), "cycle-0001-001_001")
    assert list(Folders().read([query], CLASSES, tmp_path)) == []
    put(tmp_path, query, np.ones((4, 4), np.uint8), "cycle-0001-001_002")
    (answer,) = Folders().read([query], CLASSES, tmp_path)
    assert np.array_equal(answer.labels[0, 0], [0, 1])
