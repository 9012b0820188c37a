import gzip
import itertools
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from helpers.annotating import CLASSES, WITH_NONE, asked, check, query, with_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nibabel.eulerangles import euler2mat
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform

from decomp.platform.annotation.nifti import OPEN, OUTSIDE, NiftiLabels
from decomp.platform.annotation.query import Classes
from decomp.platform.errors import UserError

SHAPE = (6, 20, 30)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = euler2mat(0.1, 0.2, -0.15) * (-2.0, 1.5, 3.0)
OBLIQUE[:3, 3] = 30, -20, 7
"""From voxels to millimetres: the first axis falls, and all are a little turned."""

AXES = itertools.permutations(("RL", "AP", "SI"))
ORIENTATIONS = ["".join(codes) for axes in AXES for codes in itertools.product(*axes)]


def image(folder, shape=SHAPE, affine=OBLIQUE, name="scan.nii.gz", **header):
    volume = nibabel.Nifti1Image(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), affine)
    for key, value in header.items():
        volume.header[key] = value
    nibabel.save(volume, folder / name)
    return folder / name


@pytest.fixture
def scan(tmp_path):
    return image(tmp_path)


@pytest.fixture
def cycle(tmp_path):
    (tmp_path / "cycle" / "answers").mkdir(parents=True)
    return tmp_path / "cycle"


def in_slice(scan, number=0, window=((2, 3), (4, 10), (6, 14)), **fields):
    return query(SHAPE, window, number, image="case_1", files=(scan,), **fields)


def written(cycle, queries, classes=CLASSES):
    assert NiftiLabels().write(queries, classes, cycle) == cycle
    volume = nibabel.load(cycle / "case_1.nii.gz")
    return volume, np.asanyarray(volume.dataobj).copy()


def hand_back(cycle, labels, affine=OBLIQUE, name="case_1.nii.gz"):
    nibabel.save(nibabel.Nifti1Image(labels, affine), cycle / "answers" / name)


def answers(cycle, queries, classes=CLASSES):
    return list(NiftiLabels().read(queries, classes, cycle))


def refused(cycle, queries, classes=CLASSES):
    with pytest.raises(UserError) as error:
        answers(cycle, queries, classes)
    told = str(error.value)
    assert told.startswith(f"{cycle / 'answers'}/")
    assert told.endswith(".")
    assert "\n" not in told
    return told


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.data(), st.sampled_from(ORIENTATIONS))
def test_an_annotator_who_paints_the_truth_gives_the_truth_however_the_tool_turns_the_axes(
    tmp_path_factory, data, orientation
):
    classes = data.draw(st.sampled_from([CLASSES, WITH_NONE]))
    pairs = data.draw(asked(classes, axes=3, longest=7))
    folder = tmp_path_factory.mktemp("cycle")
    (folder / "answers").mkdir()
    pairs = with_files(pairs, image(folder, pairs[0][0].shape))
    # A region that is wholly of no class counts as skipped.
    pairs = [(query, truth) for query, truth in pairs if (truth[query.inside] != 255).any()]
    queries = [query for query, _ in pairs]
    if not queries:
        return
    NiftiLabels().write(queries, classes, folder)
    volume = nibabel.load(folder / "train-a.nii.gz")
    labels = np.asanyarray(volume.dataobj).copy()
    for one, truth in pairs:
        labels[one.slices][one.inside] = truth[one.inside]
    turn = ornt_transform(io_orientation(volume.affine), axcodes2ornt(orientation))
    turned = apply_orientation(labels, turn)
    hand_back(folder, turned, volume.affine @ inv_ornt_aff(turn, labels.shape), "train-a.nii.gz")
    check(answers(folder, queries, classes), pairs)


def test_predictions_lie_in_the_regions_and_all_else_is_outside(scan, cycle):
    prediction = np.tile(np.arange(8, dtype=np.uint8) % 3, (1, 6, 1))
    mask = np.ones((1, 6, 8), np.bool_)
    mask[0, :, 7] = False
    queries = [in_slice(scan, mask=mask, prediction=prediction), in_slice(scan, 1, ((5, 6), (0, 2), (0, 3)))]
    volume, labels = written(cycle, queries)
    expected = np.full(SHAPE, OUTSIDE)
    expected[2, 4:10, 6:13] = prediction[0, :, :7]
    expected[5, :2, :3] = OPEN
    np.testing.assert_array_equal(labels, expected)
    assert volume.get_data_dtype() == np.uint8


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_header_of_the_image_is_kept(tmp_path, cycle, order):
    volume = nibabel.Nifti1Image(np.ones(SHAPE, np.int16), None, nibabel.Nifti1Header(endianness=order))
    volume.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), code=1)
    volume.set_sform(OBLIQUE, code=2)
    volume.header.set_xyzt_units("mm", "sec")
    volume.header["cal_max"], volume.header["descrip"] = 300, b"a scan"
    nibabel.save(volume, tmp_path / "scan.nii.gz")
    labels = written(cycle, [in_slice(tmp_path / "scan.nii.gz")])[0].header
    original = nibabel.load(tmp_path / "scan.nii.gz").header
    for field in ("qform_code", "sform_code", "pixdim", "srow_x", "srow_y", "srow_z", "qoffset_x", "quatern_b"):
        np.testing.assert_array_equal(labels[field], original[field])
    assert (labels["xyzt_units"], labels["descrip"]) == (original["xyzt_units"], original["descrip"])
    assert labels["cal_max"] == 0


def test_other_formats_of_volumes_get_their_affine(tmp_path, cycle):
    import SimpleITK

    volume = SimpleITK.GetImageFromArray(np.zeros(SHAPE[::-1], np.int16))
    volume.SetSpacing((2.0, 1.5, 3.0))
    volume.SetOrigin((5.0, 6.0, 7.0))
    SimpleITK.WriteImage(volume, str(tmp_path / "scan.mha"))
    labels = written(cycle, [in_slice(tmp_path / "scan.mha")])[0]
    np.testing.assert_allclose(labels.affine, [[-2, 0, 0, -5], [0, -1.5, 0, -6], [0, 0, 3, 7], [0, 0, 0, 1]])
    assert labels.shape == SHAPE


def test_labels_are_named_and_coloured_for_itk_snap_and_slicer(scan, cycle):
    written(cycle, [in_slice(scan)], Classes(("the background", "kidney", "mass"), ignore=255))
    snap = (cycle / "labels-itk-snap.txt").read_text().splitlines()
    rows = [line.split(maxsplit=7) for line in snap if not line.startswith("#")]
    assert [(int(row[0]), row[7]) for row in rows] == [
        (0, '"the background"'),
        (1, '"kidney"'),
        (2, '"mass"'),
        (OPEN, '"to annotate"'),
        (OUTSIDE, '"outside"'),
    ]
    slicer = [line.split() for line in (cycle / "labels-slicer.ctbl").read_text().splitlines()[1:]]
    assert [row[1] for row in slicer] == ["the_background", "kidney", "mass", "to_annotate", "outside"]
    assert all(len(row) == 6 and all(0 <= int(n) <= 255 for n in row[2:]) for row in slicer)
    assert [row[2:5] for row in slicer] == [row[1:4] for row in rows]


def test_what_is_there_already_is_left_alone(scan, cycle):
    written(cycle, [in_slice(scan)])
    (cycle / "case_1.nii.gz").write_bytes(b"edited")
    NiftiLabels().write([in_slice(scan)], CLASSES, cycle)
    assert (cycle / "case_1.nii.gz").read_bytes() == b"edited"


def test_the_same_queries_give_the_same_bytes(scan, cycle):
    written(cycle, [in_slice(scan)])
    first = (cycle / "case_1.nii.gz").read_bytes()
    (cycle / "case_1.nii.gz").unlink()
    written(cycle, [in_slice(scan)])
    assert (cycle / "case_1.nii.gz").read_bytes() == first


def test_regions_still_to_annotate_wait_and_regions_painted_as_outside_are_skipped(scan, cycle):
    queries = [in_slice(scan, k, ((k, k + 1), (4, 10), (6, 14))) for k in range(4)]
    labels = written(cycle, queries)[1]
    labels[0, 4:10, 6:14] = 2
    labels[1, 4:10, 6:14] = OUTSIDE
    hand_back(cycle, labels)
    first, second = answers(cycle, queries)
    assert (first.query, first.labels.tolist()) == (queries[0].id, np.full((1, 6, 8), 2).tolist())
    assert (second.query, second.labels) == (queries[1].id, None)
    labels[2, 5, 7] = 1
    hand_back(cycle, labels)
    assert "47 voxel(s) in the region of cycle-0003-002 are still to be annotated (label 254)" in refused(
        cycle, queries
    )


def test_images_that_have_not_come_back_have_no_answer(scan, cycle):
    written(cycle, [in_slice(scan)])
    assert answers(cycle, [in_slice(scan)]) == []


def test_what_is_painted_beyond_a_region_is_cut_off_and_what_is_painted_elsewhere_is_told(scan, cycle):
    asked = [in_slice(scan)]
    labels = written(cycle, asked)[1]
    labels[2, 3:12, 5:15] = 1
    hand_back(cycle, labels)
    assert answers(cycle, asked)[0].labels.tolist() == np.ones((1, 6, 8)).tolist()
    labels[2, 18, 2:5] = 2
    hand_back(cycle, labels)
    assert "3 voxel(s) outside all regions were painted, the first of them voxel 2, 18, 2" in refused(cycle, asked)


def test_a_slice_mistaken_for_its_neighbour_is_told(scan, cycle):
    asked = [in_slice(scan, prediction=np.zeros((1, 6, 8), np.uint8))]
    labels = written(cycle, asked)[1]
    labels[3, 4:10, 6:14] = 1
    hand_back(cycle, labels)
    assert "48 voxel(s) outside all regions were painted, the first of them voxel 3, 4, 6" in refused(cycle, asked)


@pytest.mark.parametrize("left", [4, 14])  # far from this cycle's region, and beside it
def test_the_volume_of_another_cycle_is_told_and_skips_nothing(scan, cycle, left):
    asked = [in_slice(scan)]
    labels = np.full_like(written(cycle, asked)[1], OUTSIDE)
    labels[2, 12 if left == 4 else 4, left : left + 4] = 1
    hand_back(cycle, labels)
    assert "nothing is painted in the region of cycle-0003-000" in refused(cycle, asked)


def test_labels_that_the_tool_numbered_anew_are_told(scan, cycle):
    asked = [in_slice(scan, prediction=np.ones((1, 6, 8), np.uint8))]
    labels = written(cycle, asked)[1]
    labels[labels == OUTSIDE] = 2
    hand_back(cycle, labels)
    assert "no voxel has label 255 any more" in refused(cycle, asked)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, np.uint16, np.int32])
def test_labels_may_be_stored_as_any_numbers_that_are_whole(scan, cycle, kind):
    asked = [in_slice(scan)]
    labels = written(cycle, asked)[1].astype(kind)
    labels[2, 4:10, 6:14] = 2
    hand_back(cycle, labels)
    assert answers(cycle, asked)[0].labels.tolist() == np.full((1, 6, 8), 2).tolist()


def test_what_does_not_fit_is_told_in_a_sentence(scan, cycle):
    asked = [in_slice(scan)]
    labels = written(cycle, asked)[1]
    labels[2, 4:10, 6:14] = 2

    def told(voxels, affine=OBLIQUE):
        hand_back(cycle, voxels, affine)
        return refused(cycle, asked)

    unknown = labels.astype(np.int16)
    unknown[2, 5, 7] = 300
    assert "the value 300 in the region of cycle-0003-000 is no class" in told(unknown)
    assert "it holds 1.5, and labels are whole numbers" in told(np.where(labels == 2, 1.5, labels).astype(np.float32))
    assert "it has 5 x 20 x 30 voxels, and case_1 has 6 x 20 x 30" in told(labels[1:])
    shifted = OBLIQUE + np.array([[0, 0, 0, 1], [0] * 4, [0] * 4, [0] * 4])
    for moved in (shifted, OBLIQUE * [1, 1, 1.1, 1], OBLIQUE * [-1, 1, 1, 1]):
        assert "its affine places the labels elsewhere than case_1" in told(labels, moved)
    broken = labels.astype(np.float32)
    broken[0, 0, 0] = np.nan
    assert "has voxels that are not finite" in told(broken)


def test_no_class_is_an_answer_only_where_the_data_set_knows_it(scan, cycle):
    asked = [in_slice(scan)]
    labels = written(cycle, asked)[1]
    labels[2, 4:10, 6:14] = 2
    labels[2, 4, 6] = 255
    hand_back(cycle, labels)
    assert answers(cycle, asked, WITH_NONE)[0].labels[0, 0, 0] == 255
    assert "the value 255 in the region of cycle-0003-000 is no class" in refused(cycle, asked)


@given(st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_is_cut_off_anywhere_is_told(scan, cycle, data):
    asked = [in_slice(scan, prediction=np.ones((1, 6, 8), np.uint8))]
    written(cycle, asked)
    content = (cycle / "case_1.nii.gz").read_bytes()
    (cycle / "answers" / "case_1.nii.gz").write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    assert refused(cycle, asked)


def test_files_that_are_no_nifti_are_told(scan, cycle):
    asked = [in_slice(scan)]
    file = cycle / "answers" / "case_1.nii.gz"
    for content in (b"", b"text", gzip.compress(b"text"), gzip.compress(bytes(400))):
        file.write_bytes(content)
        assert refused(cycle, asked)
    file.rename(cycle / "answers" / "case_1.seg.nrrd")
    assert "answers are files that end in .nii.gz; save it as such" in refused(cycle, asked)


def test_a_volume_of_another_name_is_told(scan, cycle):
    labels = written(cycle, [in_slice(scan)])[1]
    hand_back(cycle, labels, name="case_2.nii.gz")
    assert "no image of this cycle has this name; the names are case_1.nii.gz" in refused(cycle, [in_slice(scan)])


def test_images_that_are_no_volumes_in_files_are_refused(scan, cycle):
    for wrong in (query((4, 5), ((0, 1), (0, 2)), files=(scan,)), replace(in_slice(scan), files=())):
        with pytest.raises(UserError, match=r"^annotation.format: nifti is for volumes in files; "):
            NiftiLabels().write([wrong], CLASSES, cycle)


def test_an_image_that_has_changed_or_is_gone_is_told(tmp_path, cycle):
    other = image(tmp_path, (6, 20, 31))
    with pytest.raises(UserError, match=r"has 6 x 20 x 31 voxels, and case_1 had 6 x 20 x 30"):
        NiftiLabels().write([in_slice(other)], CLASSES, cycle)
    with pytest.raises(UserError, match=r"gone.nii.gz: it is missing; "):
        NiftiLabels().write([in_slice(tmp_path / "gone.nii.gz")], CLASSES, cycle)


def test_too_many_classes_are_refused(scan, cycle):
    with pytest.raises(UserError, match="labels for at most 254 classes"):
        NiftiLabels().write([in_slice(scan)], Classes(tuple(f"class {k}" for k in range(255))), cycle)
    written(cycle, [in_slice(scan)], Classes(tuple(f"class {k}" for k in range(254))))


def test_the_table_gives_the_reasons_of_skips_and_who_annotated(scan, cycle):
    queries = [in_slice(scan, k, ((k, k + 1), (4, 10), (6, 14))) for k in range(2)]
    labels = written(cycle, queries)[1]
    labels[:2, 4:10, 6:14] = 1
    hand_back(cycle, labels)
    table = cycle / "answers.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], f"{lines[1][:-1]}ann,60", f"{lines[2][:-2]}motion,,"]))
    by_query = {answer.query: answer for answer in answers(cycle, queries)}
    first, second = (by_query[query.id] for query in queries)
    assert (first.labels.max(), first.annotator, first.seconds) == (1, "ann", 60)
    assert (second.labels, second.reason) == (None, "motion")


@pytest.mark.parametrize("orientation", [None, "RAS", "LPS", "PSR"])
def test_volumes_that_were_edited_with_itk_come_back_however_they_are_turned(scan, cycle, orientation):
    """ITK reads and writes the files of 3D Slicer, ITK-SNAP and MITK."""
    import SimpleITK

    one = in_slice(scan, prediction=np.zeros((1, 6, 8), np.uint8))
    written(cycle, [one])
    truth = np.random.default_rng(0).integers(0, 3, (1, 6, 8)).astype(np.uint8)
    read = SimpleITK.ReadImage(str(cycle / "case_1.nii.gz"))
    assert read.GetSize() == SHAPE
    np.testing.assert_allclose(read.GetOrigin(), SimpleITK.ReadImage(str(scan)).GetOrigin(), atol=1e-4)
    voxels = SimpleITK.GetArrayFromImage(read)
    voxels[tuple(reversed(one.slices))] = truth.transpose(2, 1, 0)
    edited = SimpleITK.GetImageFromArray(voxels)
    edited.CopyInformation(read)
    if orientation:
        edited = SimpleITK.DICOMOrient(edited, orientation)
    SimpleITK.WriteImage(edited, str(cycle / "answers" / "case_1.nii.gz"))
    (answer,) = answers(cycle, [one])
    np.testing.assert_array_equal(answer.labels, truth)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_volume_with_any_byte_of_its_header_changed_is_read_or_told(scan, cycle, data):
    one = in_slice(scan, prediction=np.ones((1, 6, 8), np.uint8))
    written(cycle, [one])
    content = bytearray(gzip.decompress((cycle / "case_1.nii.gz").read_bytes()))
    content[data.draw(st.integers(0, 351))] = data.draw(st.integers(0, 255))
    (cycle / "answers" / "case_1.nii.gz").write_bytes(gzip.compress(bytes(content), 1))
    try:
        found, told = answers(cycle, [one]), f"{cycle / 'answers'}/"
    except UserError as error:
        found, told = [], str(error)
    assert told.startswith(f"{cycle / 'answers'}/")
    assert all(answer.labels is None or answer.labels.shape == one.size for answer in found)
