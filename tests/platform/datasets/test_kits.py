import gzip
import os
import pickle
import re
import shutil
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decomp.platform.components import build_dataset
from decomp.platform.datasets.kits import EXCLUDED, IMAGE, LABELS, Kits23, case_name
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.regions import Region

SHAPE = (4, 6, 5)  # z, y, x
VOXEL = (5.0, 0.75, 0.5)


def affine_of(axes=(0, 1, 2), signs=(-1, -1, -1), voxel=VOXEL):
    """Affine of a file whose axes `axes` are z, y and x; by default as published."""
    affine = np.zeros((4, 4))
    for axis, world, sign, length in zip(axes, (2, 1, 0), signs, voxel, strict=True):
        affine[world, axis] = sign * length
    affine[:, 3] = (12.5, -40, 300, 1)
    return affine


def volume_of(number):
    rng = np.random.default_rng(number)
    return rng.integers(-1000, 1500, SHAPE).astype(np.int16), rng.integers(0, 4, SHAPE).astype(np.uint8)


def write(file, voxels, affine, slope=None, intercept=None):
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_slope_inter(slope, intercept)
    data = bytearray(image.to_bytes())
    if slope is not None:  # nibabel resets what it would not have chosen itself
        data[112:120] = np.array([slope, intercept], "<f4").tobytes()
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(gzip.compress(bytes(data)))


def write_case(root, number, axes=(0, 1, 2), signs=(-1, -1, -1)):
    """A case whose file has z, y and x on the axes `axes`."""
    order = [axes.index(axis) for axis in range(3)]
    for name, voxels in zip((IMAGE, LABELS), volume_of(number), strict=True):
        write(root / case_name(number) / name, voxels.transpose(order), affine_of(axes, signs))


@pytest.fixture
def root(tmp_path):
    for number in (3, 0, 400, 12, 7):
        write_case(tmp_path, number)
    (tmp_path / "kits23.json").write_text("[]")
    (tmp_path / ".case_00001-x").mkdir()
    return tmp_path


def kits(root, **options) -> Kits23:
    return Kits23(str(root), **{"folds": 2, **options})


def mutate(file, change):
    """Change a file's uncompressed bytes."""
    data = bytearray(gzip.decompress(file.read_bytes()))
    change(data)
    file.write_bytes(gzip.compress(bytes(data)))


def test_volume_and_labels_are_as_written(root):
    data = kits(root)
    hu, labels = volume_of(12)
    image = data.image("case_00012")
    assert (image.shape, image.dtype) == ((*SHAPE, 1), np.float32)
    assert np.array_equal(image[..., 0], hu)
    assert data.labels("case_00012").dtype == np.uint8
    assert np.array_equal(data.labels("case_00012"), labels)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_axes_are_found_from_the_affine(tmp_path, axes):
    for number, signs in enumerate(((-1, -1, -1), (1, 1, 1), (1, -1, 1))):
        write_case(tmp_path, number, axes, signs)
    data = kits(tmp_path)
    for number in range(3):
        case = case_name(number)
        assert data.file_axes(case) == axes
        assert data.shape(case) == SHAPE
        assert data.voxel(case) == pytest.approx(VOXEL)
        assert np.array_equal(data.image(case)[..., 0], volume_of(number)[0])
        assert np.array_equal(data.labels(case), volume_of(number)[1])
    assert data.problems() == []


def test_axial_axis_of_a_tilted_volume_is_the_closest(tmp_path):
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    for number in range(2):
        write(tmp_path / case_name(number) / IMAGE, volume_of(number)[0], turn @ affine_of())
        write(tmp_path / case_name(number) / LABELS, volume_of(number)[1], turn @ affine_of())
    assert kits(tmp_path).shape("case_00000") == SHAPE
    assert kits(tmp_path).voxel("case_00000") == pytest.approx(VOXEL)


def test_slope_and_intercept_are_applied(root):
    stored = volume_of(3)[0]
    write(root / "case_00003" / IMAGE, stored, affine_of(), slope=0.5, intercept=-24.0)
    assert np.array_equal(kits(root).image("case_00003")[..., 0], 0.5 * stored - 24)


def test_header_alone_gives_shape_and_voxel(root):
    file = root / "case_00003" / IMAGE
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes())[:400]))
    assert kits(root).shape("case_00003") == SHAPE
    assert kits(root).voxel("case_00003") == pytest.approx(VOXEL)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_marked_voxels_are_found_in_the_file(tmp_path, axes):
    for number in range(2):
        write_case(tmp_path, number, axes)
    data = kits(tmp_path)
    region = Region("case_00001", (1, 2, 0), (1, 3, 2))
    inside = np.array([[[True, False], [True, True], [False, True]]])
    for chosen in (region, Region.of_mask("case_00001", (1, 2, 0), inside)):
        file = tmp_path / "case_00001" / LABELS
        stored = np.zeros(nibabel.load(file).shape, np.uint8)
        data.original(chosen).mark(stored, 3)
        write(file, stored, affine_of(axes))
        expected = np.zeros(SHAPE, np.uint8)
        chosen.mark(expected, 3)
        assert expected.any()
        assert np.array_equal(data.labels("case_00001"), expected)


def test_nested_classes_of_the_test_score(root):
    data = kits(root)
    assert data.classes == ("background", "kidney", "tumour", "cyst")
    assert list(data.nested.items()) == [("kidney_and_masses", (1, 2, 3)), ("masses", (2, 3)), ("tumour", (2,))]


def test_body_is_detected_in_the_volume(root):
    hu = np.full((3, 40, 50), -1000, np.int16)
    hu[:, 8:32, 10:40] = 20
    for name, voxels in ((IMAGE, hu), (LABELS, np.zeros(hu.shape, np.uint8))):
        write(root / "case_00003" / name, voxels, affine_of(voxel=(5, 3, 3)))
    assert np.array_equal(kits(root).body("case_00003"), hu > 0)


def test_an_experiment_file_can_name_it(root):
    assert build_dataset(Component("kits23", {"root": str(root), "folds": 3, "exclude": [7]})) == Kits23(
        str(root), folds=3, exclude=(7,)
    )


def test_cases_of_the_paper_are_excluded(tmp_path):
    for number in (*EXCLUDED, 1, 2):
        write_case(tmp_path, number)
    assert EXCLUDED == (15, 23, 37, 68, 125, 133)
    assert kits(tmp_path).case_ids() == ("case_00001", "case_00002")
    assert len(kits(tmp_path, exclude=(2,)).case_ids()) == 7


@given(numbers=st.sets(st.integers(0, 99_999), min_size=2, max_size=60), data=st.data())
def test_folds_divide_the_cases(numbers, data):
    folds = data.draw(st.integers(2, min(7, len(numbers))))

    class Listed(Kits23):
        def case_ids(self):
            return tuple(sorted(map(case_name, numbers)))

    cases = Listed("nowhere", folds=folds)
    tests = [cases.ids("test", fold) for fold in range(folds)]
    assert sorted(case for test in tests for case in test) == list(cases.case_ids())
    assert max(map(len, tests)) - min(map(len, tests)) <= 1
    for fold, test in enumerate(tests):
        assert cases.ids("train", fold) == tuple(case for case in cases.case_ids() if case not in test)
        assert cases.ids("validation", fold) == ()


def test_folds_of_the_published_cases_are_the_papers_size(tmp_path):
    for number in (*range(300), *range(400, 589)):
        (tmp_path / case_name(number)).mkdir()
    data = Kits23(str(tmp_path))
    assert [len(data.ids("train", fold)) for fold in range(5)] == [386, 386, 387, 386, 387]
    assert data.ids("test", 0)[:3] != data.case_ids()[:3]  # they are shuffled


def test_fingerprint_follows_contents_and_options_but_not_the_place(root, tmp_path_factory):
    fingerprint = kits(root).fingerprint()
    copy = tmp_path_factory.mktemp("copy")
    for case in sorted(root.glob("case_*"), reverse=True):
        shutil.copytree(case, copy / case.name)
    assert kits(copy).fingerprint() == fingerprint
    assert kits(root, folds=3).fingerprint() != fingerprint
    assert kits(root, exclude=(7,)).fingerprint() != fingerprint
    for name in (IMAGE, LABELS):
        before = kits(copy).fingerprint()
        file = copy / "case_00007" / name
        mutate(file, lambda data: data.__setitem__(-1, data[-1] ^ 1))
        assert kits(copy).fingerprint() != before


def test_pickle_stays_small(root):
    data = kits(root)
    data.image("case_00003")
    assert len(pickle.dumps(data)) < 400
    assert pickle.loads(pickle.dumps(data)) == data


def test_unknown_case_is_an_error(root):
    for ask in ("image", "labels", "shape", "voxel", "body"):
        with pytest.raises(KeyError, match="There is no case 'case_00001'"):
            getattr(kits(root), ask)("case_00001")


def test_folder_without_cases_is_an_error_that_names_the_right_one(tmp_path):
    with pytest.raises(UserError, match=r"dataset\.root: .* give the folder that holds case_00000"):
        kits(tmp_path / "nothing")
    (tmp_path / "dataset").mkdir()
    write_case(tmp_path / "dataset", 0)
    with pytest.raises(UserError, match=rf"give {tmp_path}/dataset\."):
        kits(tmp_path)


@pytest.mark.parametrize("folds", [1, 6])
def test_number_of_folds_is_checked(root, folds):
    with pytest.raises(UserError, match=r"dataset\.folds: .*(greater than or equal to 2|give a number from 2 to 5)"):
        build_dataset(Component("kits23", {"root": str(root), "folds": folds}))


def test_whole_copy_has_no_problems(root):
    assert kits(root).problems() == []


def truncate(file):
    file.write_bytes(file.read_bytes()[:-20])


def truncate_contents(file):
    mutate(file, lambda data: data.__delitem__(slice(-10, None)))


def corrupt(file):
    data = bytearray(file.read_bytes())
    data[-6] ^= 1  # in the CRC
    file.write_bytes(bytes(data))


def header(start, values, dtype):
    raw = np.array(values, dtype).tobytes()
    return lambda file: mutate(file, lambda data: data.__setitem__(slice(start, start + len(raw)), raw))


def rewrite(voxels, affine=None):
    return lambda file: write(file, voxels, affine_of() if affine is None else affine)


def labelled(value, dtype=np.uint8):
    labels = volume_of(0)[1].astype(dtype)
    labels[0, 0, 0] = value
    return labels


DAMAGES = [
    (IMAGE, lambda file: file.unlink(), "is missing"),
    (LABELS, lambda file: file.unlink(), "is missing"),
    (IMAGE, truncate, "is truncated"),
    (LABELS, truncate, "is truncated"),
    (IMAGE, truncate_contents, "is truncated (it holds 582 bytes, its header speaks of 592)"),
    (LABELS, truncate_contents, "is truncated (it holds 462 bytes, its header speaks of 472)"),
    (LABELS, corrupt, "is corrupt (CRC check failed"),
    (IMAGE, lambda file: file.write_bytes(b""), "is empty"),
    (IMAGE, lambda file: file.write_bytes(gzip.decompress(file.read_bytes())), "is not compressed by gzip"),
    (IMAGE, lambda file: file.write_bytes(gzip.compress(b"x" * 1000)), "has an unreadable NIfTI header"),
    (LABELS, header(344, list(b"NO!\0"), "u1"), "has an unreadable NIfTI header"),
    (IMAGE, header(344, [0], "u1"), "has an unreadable NIfTI header"),
    (IMAGE, header(108, [np.inf], "<f4"), "has an unreadable NIfTI header"),  # offset of the voxels
    (IMAGE, header(108, [np.nan], "<f4"), "has an unreadable NIfTI header"),
    (IMAGE, header(108, [1e12], "<f4"), "is truncated"),
    (IMAGE, header(42, [2000, 2000, 800], "<i2"), "bytes cannot hold the 6400000352 that its header speaks of"),
    (IMAGE, header(70, [4096], "<i2"), "has an unreadable NIfTI header"),  # type of the voxels
    (IMAGE, rewrite(np.zeros((*SHAPE, 2), np.int16)), "is no volume (its shape is (4, 6, 5, 2))"),
    (IMAGE, header(80, [0, 1, 1], "<f4"), "has a spacing that is not positive (0, 1, 1 mm)"),
    (IMAGE, header(80, [5, -0.75, 0.5], "<f4"), "has a spacing that is not positive (5, -0.75, 0.5 mm)"),
    (IMAGE, header(280, [0] * 12, "<f4"), "has a spacing that is not positive (0, 0, 0 mm)"),
    (IMAGE, header(280, [np.nan] * 12, "<f4"), "has an affine that is not finite"),
    (IMAGE, header(280, [1, 2, 0, 0] * 3, "<f4"), "has a spacing that is not positive"),
    (IMAGE, header(280, [1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0], "<f4"), "maps two axes to one direction"),
    (LABELS, rewrite(np.zeros((4, 6, 6), np.uint8)), "has the shape (4, 6, 6), but the image (4, 6, 5)"),
    (LABELS, rewrite(volume_of(0)[1], affine_of(signs=(1, -1, -1))), "has another affine than the image"),
    (LABELS, rewrite(volume_of(0)[1], affine_of(voxel=(5, 0.8, 0.5))), "has another affine than the image"),
    (LABELS, rewrite(labelled(7)), "has unknown labels (7; known are 0 to 3)"),
    (LABELS, rewrite(labelled(-1, np.int16)), "has unknown labels (-1; known are 0 to 3)"),
    (IMAGE, rewrite(np.full(SHAPE, np.nan, np.float32)), "has voxels that are not finite"),
    (LABELS, rewrite(labelled(1.5, np.float32)), "has unknown labels (1.5; known are 0 to 3)"),
    (LABELS, rewrite(labelled(np.nan, np.float32)), "has voxels that are not finite"),
]


@pytest.mark.parametrize(("name", "damage", "sentence"), DAMAGES, ids=[sentence for *_, sentence in DAMAGES])
def test_damage_is_told_in_a_sentence_with_case_and_mend(root, name, damage, sentence):
    before = kits(root).fingerprint()
    damage(root / "case_00012" / name)
    (problem,) = kits(root).problems()
    assert problem.startswith(f"dataset: case_00012: {root / 'case_00012' / name} ")
    assert sentence in problem
    assert problem.endswith("; download the case again, or add its number to dataset.exclude.")
    assert kits(root).fingerprint() != before
    assert kits(root, exclude=(12,)).problems() == []


def link_to_itself(file):
    file.unlink()
    file.symlink_to(file)


def pipe(file):
    file.unlink()
    os.mkfifo(file)


def nifti_2(file):
    voxels = np.zeros(SHAPE, np.uint8)
    file.write_bytes(gzip.compress(nibabel.Nifti2Image(voxels, affine_of()).to_bytes()))


@pytest.mark.parametrize("name", [IMAGE, LABELS])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (pipe, "is a device, pipe or socket, not a file; move it elsewhere."),
        (link_to_itself, "cannot be read (Too many levels of symbolic links); mend the link."),
        (nifti_2, "is a NIfTI-2 file; save it as NIfTI-1."),
    ],
)
def test_what_copying_does_not_mend_has_a_mend_of_its_own(root, name, damage, sentence):
    file = root / "case_00012" / name
    damage(file)
    assert kits(root).problems() == [f"dataset: case_00012: {file} {sentence}"]
    with pytest.raises(UserError, match=re.escape(sentence)):
        (kits(root).image if name == IMAGE else kits(root).labels)("case_00012")


def test_a_file_that_may_not_be_read_is_not_to_be_downloaded_again(root, monkeypatch):
    file = root / "case_00012" / LABELS
    granted = Path.open

    def open_(path, *args, **options):
        if str(path) == str(file):
            raise PermissionError(13, "Permission denied")
        return granted(path, *args, **options)

    monkeypatch.setattr(Path, "open", open_)
    sentence = "cannot be read (Permission denied); give yourself the right to read it."
    assert kits(root).problems() == [f"dataset: case_00012: {file} {sentence}"]


def test_units_that_are_not_hounsfields_are_told(root):
    file = root / "case_00012" / IMAGE
    write(file, volume_of(12)[0] + np.int16(1024), affine_of())
    (problem,) = kits(root).problems()
    assert problem.startswith(f"dataset: case_00012: {file} is not in Hounsfield units (air is -1000")
    assert problem.endswith(
        "; store it with the slope and intercept that give HU (often 1 and -1024), or leave it out."
    )
    with pytest.raises(UserError, match="is not in Hounsfield units"):
        kits(root).image("case_00012")

    class Magnetic(Kits23):
        hounsfield = False

    assert Magnetic(str(root), folds=2).problems() == []
    assert Magnetic(str(root), folds=2).image("case_00012").max() > 1000


def test_of_large_data_sets_a_sample_is_read_whole(root, monkeypatch):
    sizes = sum((root / case / IMAGE).stat().st_size for case in kits(root).case_ids())
    monkeypatch.setattr("decomp.platform.datasets.volumes.READ_WHOLE", sizes // 2)
    for case in ("case_00003", "case_00000"):  # the second and the first
        write(root / case / IMAGE, volume_of(3)[0] + np.int16(1024), affine_of())
    assert [problem.split(": ")[1] for problem in kits(root).problems()] == ["case_00000"]


def test_contents_far_beyond_the_voxels_are_not_decompressed(root):
    file = root / "case_00012" / IMAGE
    few, many = (gzip.decompress(file.read_bytes()) + bytes(size) for size in (1000, 40_000_000))
    file.write_bytes(gzip.compress(few))
    assert kits(root).problems() == []
    file.write_bytes(gzip.compress(many))
    (problem,) = kits(root).problems()
    assert "holds far more than the 592 bytes that its header speaks of" in problem


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("plain", lambda data: None),
        ("sform", lambda data: data.__setitem__(slice(280, 328), np.diag([5, 6, 7, 1])[:3].astype("<f4").tobytes())),
        ("pixdim", lambda data: data.__setitem__(slice(80, 92), np.array([1, 1.5, 2.5], "<f4").tobytes())),
        ("metres", lambda data: data.__setitem__(123, 1)),
        ("micrometres", lambda data: data.__setitem__(123, 3)),
        ("no unit", lambda data: data.__setitem__(123, 0)),
        ("sform alone", lambda data: data.__setitem__(slice(252, 254), bytes(2))),
        ("qform alone", lambda data: data.__setitem__(slice(254, 256), bytes(2))),
        ("neither", lambda data: data.__setitem__(slice(252, 256), bytes(4))),
    ],
)
def test_voxel_is_that_of_nnunets_own_reader(root, name, change):
    reader = pytest.importorskip("nnunetv2.imageio.simpleitk_reader_writer").SimpleITKIO()
    for case in ("case_00003", "case_00007"):
        image = nibabel.Nifti1Image(volume_of(3)[0].transpose(2, 1, 0), np.diag([-0.7, -0.8, 2.3, 1]))
        image.set_qform(image.affine, 1)
        (root / case / IMAGE).write_bytes(gzip.compress(image.to_bytes()))
    before = kits(root).fingerprint()
    mutate(root / "case_00003" / IMAGE, change)
    expected = reader.read_images([str(root / "case_00003" / IMAGE)])[1]["spacing"]
    assert kits(root).voxel("case_00003") == tuple(map(float, expected))
    assert (kits(root).fingerprint() == before) == (name in ("plain", "no unit"))


def test_all_damage_is_told_at_once(root):
    (root / "case_00000" / IMAGE).unlink()
    truncate(root / "case_00000" / LABELS)
    truncate(root / "case_00007" / IMAGE)
    rewrite(labelled(9))(root / "case_00012" / LABELS)
    mutate(root / "case_00400" / IMAGE, lambda data: data.__setitem__(slice(344, 348), b"NO!\0"))
    problems = kits(root).problems()
    told = [(problem.split(": ")[1], problem.split()[2].rpartition("/")[2]) for problem in problems]
    assert told == [
        ("case_00000", IMAGE),
        ("case_00000", LABELS),
        ("case_00007", IMAGE),
        ("case_00012", LABELS),
        ("case_00400", IMAGE),
    ]


def test_float_labels_that_are_whole_numbers_are_read(root):
    rewrite(volume_of(7)[1].astype(np.float64))(root / "case_00007" / LABELS)
    assert kits(root).problems() == []
    assert np.array_equal(kits(root).labels("case_00007"), volume_of(7)[1])


@pytest.mark.parametrize("value", [0.9999999, 1.0004, 3.0009, -0.0001])
def test_float_labels_are_rounded_where_rounding_is_the_cause(root, value):
    rewrite(labelled(value, np.float32))(root / "case_00007" / LABELS)
    assert kits(root).problems() == []
    assert kits(root).labels("case_00007")[0, 0, 0] == round(value)


def test_affines_may_differ_by_rounding(root):
    rewrite(volume_of(7)[1], affine_of() + np.full((4, 4), 1e-4) * (np.arange(4) < 3)[:, None])(
        root / "case_00007" / LABELS
    )
    assert kits(root).problems() == []


def test_concatenated_gzip_members_are_no_damage(root):
    file = root / "case_00007" / IMAGE
    data = gzip.decompress(file.read_bytes())
    file.write_bytes(gzip.compress(data[:500]) + gzip.compress(data[500:]))
    assert kits(root).problems() == []
    assert np.array_equal(kits(root).image("case_00007")[..., 0], volume_of(7)[0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda file: file.unlink(), "is missing"),
        (truncate, "is truncated"),
        (corrupt, "is corrupt"),
        (rewrite(np.full(SHAPE, np.inf, np.float32)), "has voxels that are not finite"),
    ],
)
def test_damaged_image_is_an_error_when_read(root, damage, sentence):
    damage(root / "case_00012" / IMAGE)
    with pytest.raises(UserError, match=rf"dataset: case_00012: .*{IMAGE} {sentence}.*; download the case again"):
        kits(root).image("case_00012")


def test_mended_file_is_read_again(root):
    data = kits(root)
    (root / "case_00012" / IMAGE).write_bytes(b"")
    assert len(data.problems()) == 1
    write_case(root, 12)
    assert data.problems() == []
    assert data.shape("case_00012") == SHAPE
