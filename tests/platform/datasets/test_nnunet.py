import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.nnunet_raw import AXIAL, LAYOUTS, drawn, save, write_layout

from decomp.platform.components import build_dataset
from decomp.platform.datasets.base import IGNORE
from decomp.platform.datasets.nnunet import NnUNetRaw
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.regions import Region

SAGITTAL = np.array([[0, 0, -1.0], [-1, 0, 0], [0, 1, 0]])
"""A file whose axes are y, z and x: a stack of sagittal slices."""


def raw(root, **options) -> NnUNetRaw:
    built = build_dataset(Component("nnunet", {"root": str(root), "folds": 2, **options}))
    assert isinstance(built, NnUNetRaw)
    return built


def edit(folder, **changes):
    file = folder / "dataset.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize("name", LAYOUTS)
def test_public_layouts_are_read_as_they_lie(tmp_path, name):
    layout = LAYOUTS[name]
    data = raw(write_layout(tmp_path, layout))
    assert data.problems() == []
    assert data.channels == layout.channels
    image = data.ids("train", 0)[0]
    intensities, labels = drawn(layout, int(image[-1]))
    assert data.shape(image) == layout.shape
    assert data.voxel(image) == pytest.approx(layout.spacing)
    assert np.array_equal(data.image(image), np.moveaxis(intensities, 0, -1))
    assert np.array_equal(data.labels(image), labels)
    body = data.body(image)
    assert body.shape == layout.shape
    assert body[labels > 0].all()
    assert 0.2 < body.mean() < 0.7


def test_labels_are_classes_and_all_but_the_background_are_scored(tmp_path):
    data = raw(write_layout(tmp_path, LAYOUTS["prostate"]))
    assert (data.classes, data.nested) == (("background", "PZ", "TZ"), {})
    assert data.scored == {"PZ": (1,), "TZ": (2,)}


def test_classes_of_nested_regions_are_what_no_inner_region_has(tmp_path):
    data = raw(write_layout(tmp_path, LAYOUTS["kits"]))
    assert data.classes == ("background", "kidney without masses", "tumor", "masses without tumor")
    assert data.scored == data.nested == {"kidney": (1, 2, 3), "masses": (2, 3), "tumor": (2,)}


def test_labels_that_no_region_tells_apart_are_one_class(tmp_path):
    labels = {"background": 0, "organ": [1, 2, 3, 4], "mass": [2, 4]}
    layout = replace(LAYOUTS["liver"], labels=labels, order=[3, 2])
    data = raw(write_layout(tmp_path, layout))
    assert data.classes == ("background", "organ without mass", "mass")
    assert data.nested == {"organ": (1, 2), "mass": (2,)}
    image = data.ids("train", 0)[0]
    expected = np.array([0, 1, 2, 1, 2])[drawn(layout, int(image[-1]))[1]]
    assert np.array_equal(data.labels(image), expected)


def test_labels_may_be_numbers_in_quotes(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["prostate"])
    edit(folder, labels={"background": "0", "PZ": "1", "TZ": 2})
    assert raw(folder).scored == {"PZ": (1,), "TZ": (2,)}


def test_the_ignored_label_is_no_class(tmp_path):
    layout = replace(LAYOUTS["prostate"], labels={"background": 0, "PZ": 1, "TZ": 2, "ignore": 3})
    folder = write_layout(tmp_path, layout)
    labels = drawn(layout, 0)[1]
    labels[:2] = 3
    save(folder / "labelsTr" / "case_0.nii.gz", labels, layout.spacing)
    data = raw(folder)
    assert data.problems() == []
    assert data.classes == ("background", "PZ", "TZ")
    assert np.array_equal(data.labels("case_0"), np.where(labels == 3, IGNORE, labels))


def test_a_labelled_test_set_is_the_test_split(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["acdc"])
    data, cases = raw(folder), ("case_0", "case_1", "case_2", "case_3")
    assert data.folds == 1
    assert data.ids("train", 0) == cases
    assert data.ids("test", 0) == ("imagesTs/case_4",)
    assert data.ids("validation", 0) == ()
    assert data.labels("imagesTs/case_4").any()
    shutil.rmtree(folder / "labelsTs")
    assert raw(folder).folds == 2
    assert {image for fold in (0, 1) for image in raw(folder).ids("test", fold)} == {*cases}


def test_labels_of_a_test_set_without_images_are_told(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["acdc"])
    (folder / "imagesTs").rename(folder / "imagesTest")
    (problem,) = raw(folder).problems()
    assert "labelsTs/case_4.nii.gz has no image in imagesTs; add the image, or move it elsewhere." in problem


@pytest.mark.parametrize("cases", [5, 7])
def test_folds_are_those_that_nnunet_would_make(tmp_path, cases):
    from nnunetv2.utilities.crossval_split import generate_crossval_split

    data = raw(write_layout(tmp_path, LAYOUTS["liver"], cases), folds=5)
    expected = generate_crossval_split([f"case_{number}" for number in range(cases)])
    for fold, split in enumerate(expected):
        assert data.ids("train", fold) == tuple(split["train"])
        assert data.ids("test", fold) == tuple(split["val"])


@pytest.mark.parametrize("place", ["nnUNet_raw/Dataset001_Small", "nnUNet_preprocessed/Dataset001_Small"])
def test_given_splits_are_followed(tmp_path, place):
    folder = write_layout(tmp_path / "nnUNet_raw", LAYOUTS["liver"])
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    splits = [{"train": ["case_2"], "val": ["case_3"]}, {"train": ["case_1", "case_0"], "val": ["case_2"]}]
    (tmp_path / place / "splits_final.json").write_text(json.dumps([*splits, splits[0]]))
    data = raw(folder)
    assert data.folds == 3
    assert (data.ids("train", 1), data.ids("test", 1)) == (("case_0", "case_1"), ("case_2",))
    assert (data.ids("train", 2), data.ids("test", 2)) == (("case_2",), ("case_3",))
    assert data.problems() == []
    (tmp_path / place / "splits_final.json").write_text(json.dumps([{"train": ["case_9"], "val": ["case_3"]}]))
    (problem,) = raw(folder).problems()
    assert "splits_final.json names case_9, of which there are no images; add them, or remove the file." in problem


def test_listed_files_are_read_where_they_lie(tmp_path, monkeypatch):
    folder = write_layout(tmp_path, LAYOUTS["prostate"])
    (folder / "imagesTr").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("SCANS", "elsewhere")
    files = {
        f"patient {k}": {
            "images": [f"../$SCANS/case_{k}_0000.nii.gz", f"../elsewhere/case_{k}_0001.nii.gz"],
            "label": str(folder / f"labelsTr/case_{k}.nii.gz"),
        }
        for k in range(4)
    }
    edit(folder, dataset=files)
    data = raw(folder)
    assert data.problems() == []
    assert np.array_equal(data.image("patient 2"), np.moveaxis(drawn(LAYOUTS["prostate"], 2)[0], 0, -1))


@pytest.mark.parametrize("ending", [".nii", ".mha", ".nrrd"])
def test_nnunets_own_readers_read_the_other_formats_alike(tmp_path, ending):
    import SimpleITK

    folder = write_layout(tmp_path, LAYOUTS["prostate"], overwrite_image_reader_writer="None")
    expected = raw(folder)
    images = {image: (expected.image(image), expected.labels(image)) for image in expected.ids("train", 0)}
    region = Region("case_1", (1, 2, 3), (1, 4, 5))
    shape, voxel, original = expected.shape("case_1"), expected.voxel("case_1"), expected.original(region)
    for file in folder.rglob("*.nii.gz"):
        SimpleITK.WriteImage(SimpleITK.ReadImage(file), str(file).removesuffix(".nii.gz") + ending)
        file.unlink()
    edit(folder, file_ending=ending)
    data = raw(folder)
    assert data.problems() == []
    for image, (intensities, labels) in images.items():
        assert np.array_equal(data.image(image), intensities)
        assert np.array_equal(data.labels(image), labels)
    assert data.shape("case_1") == shape
    assert data.voxel("case_1") == pytest.approx(voxel)
    assert data.original(region) == original
    file = folder / "imagesTr" / f"case_1_0000{ending}"
    before = data.fingerprint()
    file.write_bytes(file.read_bytes()[:300])
    assert raw(folder).fingerprint() != before
    assert any(f"{file} cannot be read (" in problem for problem in raw(folder).problems())


def test_volumes_in_tiff_have_the_spacing_of_the_file_beside_them(tmp_path, capsys):
    import tifffile

    folder = write_layout(tmp_path, LAYOUTS["hippocampus"], file_ending=".tif")
    shutil.rmtree(folder / "imagesTr")
    shutil.rmtree(folder / "labelsTr")
    for part, suffix in (("imagesTr", "_0000"), ("labelsTr", "")):
        (folder / part).mkdir()
        for number in range(4):
            intensities, labels = drawn(LAYOUTS["hippocampus"], number)
            tifffile.imwrite(folder / part / f"case_{number}{suffix}.tif", labels if suffix == "" else intensities[0])
            (folder / part / f"case_{number}.json").write_text('{"spacing": [5, 2, 1.5]}')
    data = raw(folder)
    assert data.problems() == []
    assert data.voxel("case_1") == (5.0, 2.0, 1.5)
    assert np.array_equal(data.image("case_1")[..., 0], drawn(LAYOUTS["hippocampus"], 1)[0][0])
    assert data.original(Region("case_1", (1, 2, 3), (1, 4, 5))).start == (1, 2, 3)
    assert capsys.readouterr() == ("", "")


def test_colour_images_are_volumes_of_one_slice(tmp_path):
    import cv2

    folder = write_layout(tmp_path, LAYOUTS["hippocampus"], channel_names={"0": "R", "1": "G", "2": "B"})
    edit(folder, file_ending=".png")
    pixels = np.random.default_rng(0).integers(0, 255, (12, 20, 3), np.uint8)
    for number in range(4):
        cv2.imwrite(str(folder / "imagesTr" / f"case_{number}_0000.png"), pixels[..., ::-1])
        cv2.imwrite(str(folder / "labelsTr" / f"case_{number}.png"), pixels[..., 0] // 100)
    data = raw(folder)
    assert data.problems() == []
    assert data.shape("case_0") == (1, 12, 20)
    assert np.array_equal(data.image("case_0")[0], pixels)
    cv2.imwrite(str(folder / "imagesTr" / "case_0_0000.png"), pixels[..., 0])
    (problem,) = raw(folder).problems()
    assert "case_0_0000.png has 1 channel(s), but 3 are expected (R, G, B); save a file for each channel, or" in problem


@pytest.mark.parametrize(
    ("spacing", "turn", "axis", "first"),
    [
        ((3.0, 0.6, 0.6), AXIAL, None, 0),
        ((3.0, 0.6, 0.6), SAGITTAL, None, 2),
        ((3.0, 0.6, 0.6), SAGITTAL, "axial", 0),
        ((1.2, 0.9, 0.9), SAGITTAL, None, 2),
        ((1.0, 1.0, 1.0), SAGITTAL, None, 0),
        ((0.8, 0.5, 0.8), AXIAL, None, 0),  # thin slices: no plane is finer than both others
        ((1.0, 1.0, 1.0), AXIAL, "coronal", 1),
    ],
)
def test_slices_lie_in_the_plane_of_the_finest_resolution(tmp_path, spacing, turn, axis, first):
    layout = LAYOUTS["hippocampus"]
    folder = write_layout(tmp_path, layout)
    for number in range(4):
        intensities, labels = drawn(layout, number)
        save(folder / "imagesTr" / f"case_{number}_0000.nii.gz", intensities[0], spacing, turn)
        save(folder / "labelsTr" / f"case_{number}.nii.gz", labels, spacing, turn)
    data = raw(folder, **({} if axis is None else {"axis": axis}))
    assert data.problems() == []
    assert data.across("case_0") == first
    if turn is SAGITTAL and first == 2:  # the slices are those of the file's stack; in them z comes before y
        assert np.array_equal(data.labels("case_0"), drawn(layout, 0)[1])
        assert data.voxel("case_0") == pytest.approx(spacing)
    region = Region("case_0", (1, 2, 3), (1, 4, 5))
    marked = np.zeros(data.shape("case_0"), np.uint8)
    region.mark(marked, 1)
    in_file = np.zeros(drawn(layout, 0)[1].transpose(2, 1, 0).shape, np.uint8)
    data.original(region).mark(in_file, 1)
    save(folder / "labelsTr" / "case_0.nii.gz", in_file.transpose(2, 1, 0), spacing, turn)
    assert np.array_equal(data.labels("case_0"), marked)


def test_one_stack_in_another_plane_keeps_its_slices(tmp_path):
    layout = LAYOUTS["acdc"]
    folder = write_layout(tmp_path, layout)
    intensities, labels = drawn(layout, 2)
    save(folder / "imagesTr" / "case_2_0000.nii.gz", intensities[0], layout.spacing, SAGITTAL)
    save(folder / "labelsTr" / "case_2.nii.gz", labels, layout.spacing, SAGITTAL)
    data = raw(folder)
    assert [data.across(image) for image in data.ids("train", 0)] == [0, 0, 2, 0]
    assert data.voxel("case_2") == pytest.approx(layout.spacing)


def test_readers_that_reorient_turn_all_volumes_alike(tmp_path):
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

    layout = LAYOUTS["hippocampus"]
    folder = write_layout(tmp_path, layout, overwrite_image_reader_writer="NibabelIOWithReorient")
    save(folder / "imagesTr" / "case_1_0000.nii.gz", drawn(layout, 1)[0][0], layout.spacing, SAGITTAL)
    save(folder / "labelsTr" / "case_1.nii.gz", drawn(layout, 1)[1], layout.spacing, SAGITTAL)
    data = raw(folder)
    for image in ("case_0", "case_1"):
        expected, _ = NibabelIOWithReorient().read_images([str(data.image_files(image)[0])])
        assert np.array_equal(data.image(image)[..., 0], expected[0])
        region = Region(image, (1, 2, 3), (1, 4, 5))
        stored, order = data.labels(image), np.argsort(data.file_axes(image))
        found = data.original(region)
        assert found.size == tuple(np.array(region.size)[order])
        in_file = np.asarray(NibabelIOWithReorient().read_seg(str(data.label_file(image)))[0][0])
        assert np.array_equal(region.of(stored), region.of(in_file.astype(np.uint8)))
    assert data.original(Region("case_0", (1, 2, 3), (1, 4, 5))) == Region(
        "case_0", (24 - 3 - 5, 24 - 2 - 4, 1), (5, 4, 1)
    )


MISTAKES = [
    ({"labels": {"0": "background", "1": "liver"}, "modality": {"0": "CT"}, "training": []}, "nnUNetv2_convert_MSD"),
    ({"labels": {"0": "background", "1": "liver"}, "modality": {"0": "CT"}}, "nnUNetv2_convert_old_nnUNet_dataset"),
    ({"labels": {"background": "0", "liver": 1.0}}, "'liver' is 1.0; give a whole number, or a list of them"),
    ({"labels": {"liver": 1}}, "labels: give the label of each class by name, with background: 0"),
    ({"labels": {"background": 0, "liver": "one"}}, "'liver' is 'one'; give a whole number, or a list of them"),
    ({"labels": {"background": 0, "liver": 2}}, "labels: must be 1 to 1 without gaps, not 2"),
    ({"labels": {"background": 0}}, "labels: must be 1 to 1 without gaps, not none"),
    ({"labels": {"background": 0, "liver": 1, "ignore": 5}}, "'ignore' must be 2, one more than the greatest label"),
    ({"labels": {"background": 0, "liver": 1, "Ignore": 2}}, "'Ignore' would be a class; write it in small letters if"),
    ({"labels": {"background": 0, "liver": 1, "lobe": 1}}, "two classes have the same label"),
    ({"labels": {"background": 0, "a": [1, 2], "b": 2}}, "regions_class_order: give a label for each of the 2 regions"),
    (
        {"labels": {"background": 0, "a": [1, 2], "b": [2, 3]}, "regions_class_order": [1, 3]},
        "the region 'b' does not lie within 'a', the one before; only nested regions are possible",
    ),
    (
        {"labels": {"background": 0, "b": 2, "a": [1, 2]}, "regions_class_order": [2, 1]},
        "the region 'a' does not lie within 'b', the one before",
    ),
    (
        {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [2, 1]},
        "2 stands for 'a', but of its labels only 1 lie in no region after it; give one of these",
    ),
    (
        {"labels": {"background": 0, "a": [1, 2], "b": 2}, "regions_class_order": [1, [2]]},
        "[2] stands for 'b', but of its labels only 2 lie in no region after it; give one of these",
    ),
    ({"channel_names": {"1": "CT"}}, "channel_names: give the name of each channel by its number from"),
    ({"file_ending": "nii.gz"}, "file_ending: give what the files' names end in"),
    ({"numTraining": "4"}, "numTraining: give the number of training cases"),
    ({"dataset": {"a": {"images": ["x"]}}}, "'a' needs 'images', a list of files, and 'label', a file"),
    ({"dataset": [1]}, "dataset: give the files of each case by its name"),
    ({"dataset": {"a": {"images": [], "label": "x"}}}, "'a' lists 0 images; give one for each channel"),
    ({"overwrite_image_reader_writer": "DicomIO"}, "nnU-Net has no class 'DicomIO'"),
    ({"file_ending": ".dcm"}, "holds no images such as CASE_0000.dcm"),
]


@pytest.mark.parametrize(("changes", "sentence"), MISTAKES, ids=[sentence[:40] for _, sentence in MISTAKES])
def test_a_wrong_description_is_the_users_mistake(tmp_path, changes, sentence):
    folder = write_layout(tmp_path, LAYOUTS["liver"], 2)
    edit(folder, **changes)
    with pytest.raises(UserError) as error:
        raw(folder)
    assert sentence in str(error.value)
    assert str(error.value).startswith("dataset.root: ")


def test_all_mistakes_of_a_description_are_told_at_once(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["liver"], 2)
    edit(folder, file_ending=None, channel_names={}, labels=[])
    with pytest.raises(UserError) as error:
        raw(folder)
    assert len(str(error.value).splitlines()) == 3


def test_a_folder_that_is_none_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.json is missing; give the folder DatasetXXX_NAME, which holds it"):
        raw(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json is no JSON \(.*\); mend it"):
        raw(tmp_path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"exclude": ["case_7"]}, "dataset.exclude: there is no case 'case_7' (did you mean"),
        ({"folds": 5}, "dataset.folds: give a number from 2 to 4, the number of cases, not 5."),
        ({"body_by": "hu"}, "dataset.body_by: the first channel is MRI, not CT; give otsu or everywhere."),
        ({"axis": "oblique"}, "dataset.axis: "),
    ],
)
def test_unfit_options_are_the_users_mistakes(tmp_path, options, sentence):
    with pytest.raises(UserError) as error:
        raw(write_layout(tmp_path, LAYOUTS["hippocampus"]), **options)
    assert sentence in str(error.value)


def test_all_damage_is_told_at_once(tmp_path):
    layout = LAYOUTS["prostate"]
    folder = write_layout(tmp_path, layout, 7, numTraining=8)
    images, labels = folder / "imagesTr", folder / "labelsTr"
    intensities, truth = drawn(layout, 0)
    (images / "case_0_0001.nii.gz").unlink()
    save(images / "case_1_0001.nii.gz", intensities[1][1:], layout.spacing)
    save(images / "case_2_0001.nii.gz", intensities[1], (3.6, 0.62, 0.7))
    save(labels / "case_3.nii.gz", truth + 1, layout.spacing)
    (images / "case_4_0000.nii.gz").write_bytes(b"damaged")
    (labels / "case_5.nii.gz").unlink()
    save(labels / "case_6.nii.gz", truth[:, 1:], layout.spacing)
    save(images / "case_7.nii.gz", intensities[0], layout.spacing)
    save(labels / "case_8.nii.gz", truth, layout.spacing)
    told = raw(folder).problems()
    expected = [
        "dataset.json speaks of 8 training cases (numTraining), but there are 7; add the missing ones, or correct",
        "imagesTr/case_7.nii.gz is of no channel (_0000 to _0001); name it CASE_CHANNEL, or move it elsewhere.",
        "labelsTr/case_8.nii.gz has no image in imagesTr; add the image, or move it elsewhere.",
        "imagesTr/case_0_0001.nii.gz is missing; copy it again, or add the case to dataset.exclude.",
        "imagesTr/case_1_0001.nii.gz has the shape (24, 24, 11), but the image (24, 24, 12); copy it again",
        "imagesTr/case_2_0001.nii.gz has another affine than the image, so they do not lie upon each other; give it "
        "the affine of the image if their voxels belong together, else add the case to dataset.exclude.",
        "labelsTr/case_3.nii.gz has unknown labels (3; known are 0 to 2)",
        "imagesTr/case_4_0000.nii.gz is not compressed by gzip; copy it again",
        "labelsTr/case_5.nii.gz is missing",
        "labelsTr/case_6.nii.gz has the shape (24, 23, 12), but the image (24, 24, 12)",
    ]
    assert len(told) == len(expected)
    for part in expected:
        assert any(part in problem for problem in told), part
    names = [f"case_{number}" for number in range(7)]
    with pytest.raises(UserError, match="holds no images"):
        raw(folder, exclude=names)


def test_ct_in_other_units_is_told_unless_it_is_meant(tmp_path):
    layout = LAYOUTS["liver"]
    folder = write_layout(tmp_path, layout)
    save(folder / "imagesTr" / "case_1_0000.nii.gz", drawn(layout, 1)[0][0] + np.int16(1000), layout.spacing)
    (problem,) = raw(folder).problems()
    assert "case_1_0000.nii.gz is not in Hounsfield units" in problem
    assert raw(folder, exclude=["case_1"], folds=3).problems() == []
    assert raw(folder, hounsfield=False).problems() == []


def test_the_body_is_found_as_the_option_says(tmp_path):
    data = raw(write_layout(tmp_path, LAYOUTS["brats"]))
    image = data.ids("train", 0)[0]
    brain = data.image(image).any(-1)
    assert (data.body(image) == brain).mean() > 0.99
    assert raw(data.root, body_by="everywhere").body(image).all()
    ct = raw(write_layout(tmp_path / "ct", LAYOUTS["liver"]))
    by = {option: raw(ct.root, body_by=option).body(image) for option in ("hu", "otsu")}
    assert np.array_equal(by["hu"], ct.body(image))
    assert not np.array_equal(by["otsu"], by["hu"])


def test_fingerprint_follows_contents_and_options_but_not_the_place(tmp_path):
    folder = write_layout(tmp_path / "here", LAYOUTS["prostate"])
    fingerprint = raw(folder).fingerprint()
    shutil.copytree(folder, tmp_path / "there")
    assert raw(tmp_path / "there").fingerprint() == fingerprint
    different = [
        raw(folder, folds=3).fingerprint(),
        raw(folder, exclude=["case_1"]).fingerprint(),
        raw(folder, axis="coronal").fingerprint(),
        raw(folder, body_by="everywhere").fingerprint(),
    ]
    edit(folder, channel_names={"0": "T2", "1": "CT"})
    different.append(raw(folder).fingerprint())
    assert len({fingerprint, *different}) == 6


def test_pickle_stays_small(tmp_path):
    data = raw(write_layout(tmp_path, LAYOUTS["acdc"]))
    data.image("case_0")
    assert len(pickle.dumps(data)) < 800
    again = pickle.loads(pickle.dumps(data))
    assert (again, again.folds, again.classes, again.channels) == (data, 1, data.classes, data.channels)


def test_a_pool_that_people_label_needs_no_labels_and_is_not_divided(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["prostate"], cases=4)
    labelled = raw(folder).fingerprint()
    shutil.rmtree(folder / "labelsTr")
    data = raw(folder, labelled=False)
    assert data.problems() == []
    assert data.folds == 1
    assert (data.ids("train", 0), data.ids("test", 0)) == (tuple(f"case_{k}" for k in range(4)), ())
    assert (data.labels("case_0") == IGNORE).all()
    assert data.labels("case_0").shape == data.shape("case_0")
    assert data.fingerprint() != labelled
    assert data.original_files("case_0") == data.image_files("case_0")


def test_a_labelled_test_set_gives_the_score_where_people_label_the_pool(tmp_path):
    folder = write_layout(tmp_path, LAYOUTS["acdc"], cases=3)
    shutil.rmtree(folder / "labelsTr")
    data = raw(folder, labelled=False)
    assert data.problems() == []
    assert data.ids("test", 0) == ("imagesTs/case_3",)
    assert data.labels("imagesTs/case_3").any()
    (folder / "labelsTs" / "stray.nii.gz").write_bytes(b"")
    assert "stray.nii.gz has no image in imagesTs" in raw(folder, labelled=False).problems()[0]


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize("reader", [None, "NibabelIOWithReorient"])
def test_labels_are_mapped_to_the_voxels_of_the_file_and_back(tmp_path, axis, reader):
    folder = write_layout(tmp_path, LAYOUTS["hippocampus"], overwrite_image_reader_writer=reader)
    data = raw(folder, axis=axis)
    labels = np.zeros(data.shape("case_0"), np.uint8)
    region = Region("case_0", (2, 3, 4), (1, 5, 7))
    region.mark(labels, np.arange(35, dtype=np.uint8))
    of_file = data.to_original("case_0", labels)
    original = data.original(region)
    assert sorted(original.of(of_file)) == list(range(35))
    assert of_file.sum() == labels.sum()
    assert np.array_equal(data.of_original("case_0", of_file), labels)
