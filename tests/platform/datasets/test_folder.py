import errno
import os
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.folder import Folder
from decomp.platform.datasets.formats.codes import Codes
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.base import Training
from decomp.platform.learners.unet import UNet
from decomp.platform.ledger import Ledger
from decomp.platform.predictions import Wanted

CODES = {"road": 7, "vehicle": (26, 27), "sky": 23}
COLOURS = {"road": "#804080", "vehicle": ("#00008e", "#000046"), "sky": "#4682B4"}
RGB = {7: (128, 64, 128), 26: (0, 0, 142), 27: (0, 0, 70), 23: (70, 130, 180), 0: (0, 0, 0)}
LABELS = {7: 0, 26: 1, 27: 1, 23: 2, 0: IGNORE}
SPLITS = {"train": 3, "validation": 1, "test": 2}


def mask_of(number: int, shape=(20, 30)) -> np.ndarray:
    return np.random.default_rng(number).choice(list(LABELS), size=shape).astype(np.uint8)


def pixels_of(number: int, shape=(20, 30)) -> np.ndarray:
    return np.random.default_rng(100 + number).integers(0, 256, (*shape, 3), np.uint8)


def labels_of(mask: np.ndarray) -> np.ndarray:
    return np.vectorize(LABELS.get, otypes=[np.uint8])(mask)


@pytest.fixture
def root(tmp_path):
    number = 0
    for split, count in SPLITS.items():
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(pixels_of(number)).save(tmp_path / split / "images" / f"s{k}.png")
            Image.fromarray(mask_of(number)).save(tmp_path / split / "masks" / f"s{k}.png")
            number += 1
    return tmp_path


def folder_of(root, codes=CODES, ignore=(0,)) -> Folder:
    return Folder(str(root), codes, ignore)


def error_of(*arguments) -> str:
    with pytest.raises(UserError) as caught:
        folder_of(*arguments)
    return str(caught.value)


def test_ids_tell_split_and_name(root):
    folder = folder_of(root)
    assert folder.ids("train", 0) == ("train-s0", "train-s1", "train-s2")
    assert folder.ids("validation", 0) == ("validation-s0",)
    assert folder.ids("test", 0) == ("test-s0", "test-s1")
    assert folder.classes == ("road", "vehicle", "sky")


def test_images_and_labels_are_those_of_the_files(root):
    folder = folder_of(root)
    for number, image in enumerate(image for split in SPLITS for image in folder.ids(split, 0)):
        assert folder.shape(image) == (20, 30)
        assert np.array_equal(folder.image(image), pixels_of(number))
        labels = folder.labels(image)
        assert labels.dtype == np.uint8
        assert np.array_equal(labels, labels_of(mask_of(number)))
    assert folder.problems() == []


def test_validation_may_be_missing(root):
    shutil.rmtree(root / "validation")
    folder = folder_of(root)
    assert folder.ids("validation", 0) == ()
    assert folder.problems() == []


def test_palette_masks_are_read_by_index_or_by_colour(root):
    palette = np.zeros((256, 3), np.uint8)
    for code, colour in RGB.items():
        palette[code] = colour
    picture = Image.new("P", (30, 20))
    picture.putpalette(palette.tobytes())
    picture.putdata(mask_of(9).ravel().tolist())
    picture.save(root / "train" / "masks" / "s0.png")
    assert np.array_equal(folder_of(root).labels("train-s0"), labels_of(mask_of(9)))
    colours = folder_of(root, COLOURS, ("#000000",))
    assert np.array_equal(colours.labels("train-s0"), labels_of(mask_of(9)))


def test_colour_masks_are_read_by_colour(root):
    table = np.zeros((256, 3), np.uint8)
    for code, colour in RGB.items():
        table[code] = colour
    for split in SPLITS:
        for file in (root / split / "masks").iterdir():
            Image.fromarray(table[np.asarray(Image.open(file))]).save(file)
    folder = folder_of(root, COLOURS, ("#000000",))
    assert folder.problems() == []
    assert np.array_equal(folder.labels("train-s1"), labels_of(mask_of(1)))


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
def test_images_may_be_jpeg(root, suffix):
    file = root / "train" / "images" / "s1.png"
    smooth = cv2.resize(pixels_of(1, (2, 3)), (30, 20), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(smooth).save(file.with_suffix(f".{suffix}"), quality=98, subsampling=0, format="jpeg")
    file.unlink()
    folder = folder_of(root)
    assert folder.shape("train-s1") == (20, 30)
    assert np.abs(folder.image("train-s1").astype(int) - smooth).mean() < 4  # red first, else about 50
    assert folder.problems() == []


def test_a_jpeg_that_is_cut_off_is_found_by_check_and_reader(root):
    file = root / "train" / "images" / "s1.png"
    Image.fromarray(pixels_of(1)).save(file.with_suffix(".jpg"))
    file.unlink()
    data = file.with_suffix(".jpg").read_bytes()
    file.with_suffix(".jpg").write_bytes(data[: len(data) * 3 // 4])
    folder = folder_of(root)
    (problem,) = folder.problems()
    assert "s1.jpg is cut off" in problem
    with pytest.raises(UserError, match=r"s1\.jpg is cut off"):
        folder.image("train-s1")


def test_bytes_after_the_end_of_a_file_do_not_matter(root):
    file = root / "train" / "images" / "s1.png"
    file.write_bytes(file.read_bytes() + b"appended by a camera")
    folder = folder_of(root)
    assert folder.problems() == []
    assert np.array_equal(folder.image("train-s1"), pixels_of(1))


def test_learners_see_sixteen_bits_as_they_see_eight(root):
    """The same scenes in 12 bits of 16 train to the same predictions: nothing on the way assumes 0 to 255."""
    scene = np.kron(np.arange(24).reshape(4, 6) % 3, np.ones((8, 8), np.uint8)).astype(np.uint8)
    pixels = np.clip(scene * 60 + pixels_of(0, scene.shape)[..., 0] // 8, 0, 255).astype(np.uint8)
    codes = {"a": 0, "b": 1, "c": 2}
    predicted = []
    for factor in (np.uint8(1), np.uint16(16)):
        for split in SPLITS:
            for image in (root / split / "images").iterdir():
                cv2.imwrite(str(image), pixels * factor)
                cv2.imwrite(str(root / split / "masks" / image.name), scene)
        data = Folder(str(root), codes)
        assert data.image("train-s0").dtype == factor.dtype
        learner = UNet(iterations=30, batch=4, crop=16, widths=(8, 8))
        ledger = Ledger.whole({"train-s0": scene.shape})
        training = Training(ledger, np.random.default_rng(0))
        learner.fit(data, training, root / "checkpoint")
        predictor = learner.load(root / "checkpoint", data, "cpu")
        predicted.append(predictor.predict(data.image("test-s0"), Wanted()).labels)
    assert (predicted[0] == scene).mean() > 0.9
    assert (predicted[0] == predicted[1]).mean() > 0.99


def test_an_experiment_file_can_name_it(root):
    options = {"root": str(root), "codes": {"road": 7, "vehicle": [26, 27], "sky": 23}, "ignore": [0]}
    assert build_dataset(Component("folder", options)) == folder_of(root)
    for codes in ({"road": None}, {}, {f"class {k}": k for k in range(256)}):
        with pytest.raises(UserError, match=r"dataset\.codes"):
            build_dataset(Component("folder", options | {"codes": codes}))
    with pytest.raises(UserError, match=r"dataset\.classes: .* no such option"):
        build_dataset(Component("folder", options | {"classes": 3}))


def test_pickle_stays_small_and_whole(root):
    folder = folder_of(root)
    folder.labels("train-s0")
    assert len(pickle.dumps(folder)) < 600
    copy = pickle.loads(pickle.dumps(folder))
    assert copy == folder
    assert copy.classes == folder.classes


@pytest.mark.parametrize(
    ("codes", "ignore", "sentence"),
    [
        ({"a": 1, "b": (2, 1)}, (), "1 stands for both a and b"),
        ({"a": 1}, (0, 1), "1 stands for both a and ignore"),
        ({"a": 256}, (), "256 is no value of a mask; give 0 to 255"),
        ({"a": -1}, (), "-1 is no value"),
        ({"a": "red"}, (), "'red' is no colour; write it as '#804080'"),
        ({"a": "#ff0000", "b": 3}, (), "numbers and colours are mixed"),
        ({"a": 1, "b": ()}, (), "b has no code"),
    ],
)
def test_senseless_tables_are_user_errors(root, codes, ignore, sentence):
    assert sentence in error_of(root, codes, ignore)


def test_wrong_root_is_named_with_what_was_expected(tmp_path):
    message = error_of(tmp_path)
    assert str(tmp_path / "train" / "images") in message
    assert str(tmp_path / "test" / "images") in message
    assert "train/masks/NAME.png" in message


def test_folders_without_images_are_a_problem(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split / "images").mkdir(parents=True)
    (problem,) = folder_of(tmp_path).problems()
    assert "there are no images" in problem


def test_all_damage_is_told_at_once(root):
    place = root / "train"
    whole = (place / "images" / "s0.png").read_bytes()
    (place / "images" / "s0.png").write_bytes(whole[: len(whole) // 2])  # cut off
    (place / "images" / "s1.png").write_bytes(b"no picture")
    Image.fromarray(mask_of(2, (20, 29))).save(place / "masks" / "s2.png")  # another size
    (root / "validation" / "masks" / "s0.png").unlink()
    Image.fromarray(np.full((20, 30), 99, np.uint8)).save(root / "test" / "masks" / "s0.png")
    cut = (root / "test" / "masks" / "s1.png").read_bytes()
    (root / "test" / "masks" / "s1.png").write_bytes(cut[:-30])
    Image.fromarray(mask_of(5)).save(root / "test" / "masks" / "stray.png")
    problems = folder_of(root).problems()
    assert len(problems) == 7
    for sentence in (
        f"{place}/images/s0.png is cut off; copy the file again.",
        f"{place}/images/s1.png is damaged or no image",
        f"{place}/masks/s2.png has 20 x 29 pixels and its image 20 x 30",
        f"validation/images/s0.png has no mask; add {root}/validation/masks/s0.png",
        "test/masks/s0.png holds 99, which is of no class; give it a class under dataset.codes",
        "test/masks/s1.png is cut off",
        "test/masks/stray.png has no image",
    ):
        assert sum(sentence in problem for problem in problems) == 1, (sentence, problems)


@pytest.mark.parametrize(
    ("of_image", "of_mask"), [(".JPG", ".PNG"), (".tif", ".png"), (".png", ".TIFF"), (".jfif", ".tif")]
)
def test_images_and_masks_pair_whatever_their_formats_and_the_case_of_suffixes(root, of_image, of_mask):
    for split in SPLITS:
        for kind, suffix in (("images", of_image), ("masks", of_mask)):
            for file in list((root / split / kind).iterdir()):
                file.rename(file.with_suffix(suffix))
    folder = folder_of(root)
    assert folder.problems() == []
    assert np.array_equal(folder.image("train-s0"), pixels_of(0))
    assert np.array_equal(folder.labels("train-s0"), labels_of(mask_of(0)))


def test_accented_names_pair_in_both_forms_of_unicode(root):
    one, two = "Zu\u0308rich", "Z\u00fcrich"
    (root / "train" / "images" / "s0.png").rename(root / "train" / "images" / f"{one}.png")
    (root / "train" / "masks" / "s0.png").rename(root / "train" / "masks" / f"{two}.png")
    folder = folder_of(root)
    assert folder.problems() == []
    assert np.array_equal(folder.labels(f"train-{one}"), labels_of(mask_of(0)))
    Image.fromarray(pixels_of(0)).save(root / "train" / "images" / f"{two}.png")
    (problem,) = folder_of(root).problems()
    assert f"several images train-{two}; keep one" in problem


def test_a_mask_named_otherwise_than_its_image_is_no_pair(root):
    (root / "train" / "masks" / "s0.png").rename(root / "train" / "masks" / "s0_mask.png")
    lacking, stray = folder_of(root).problems()
    assert "images/s0.png has no mask; add" in lacking
    assert "masks/s0_mask.png has no image" in stray


@pytest.mark.parametrize("ending", ["_mask.png", "_labels.tif", ".segmentation.png"])
def test_many_masks_named_otherwise_are_one_sentence(root, ending):
    for k in range(3, 40):
        Image.fromarray(pixels_of(k)).save(root / "train" / "images" / f"s{k:02d}.png")
        Image.fromarray(mask_of(k)).save(root / "train" / "masks" / f"s{k:02d}{ending}")
    (problem,) = folder_of(root).problems()
    assert "s03.png and 36 other images have no mask of their name, and 37 masks, such as" in problem
    assert f"s03{ending}, have no image of theirs; name each mask as its image, such as s03.png." in problem


def test_the_same_mistake_in_many_files_is_told_once(root):
    for k in range(10):
        for split in ("train", "test"):
            Image.fromarray(pixels_of(k)).save(root / split / "images" / f"s{k}.png")
            Image.fromarray(np.full((20, 30), 90 + k % 2, np.uint8)).save(root / split / "masks" / f"s{k}.png")
        (root / "train" / "images" / f"s{k}.png").write_bytes(b"")
    empty, codes = folder_of(root).problems()
    place = root / "train" / "images"
    assert f"{place}/s0.png is empty; copy the file again (the same is wrong with 9 more files, such as " in empty
    assert f"{place}/s1.png and {place}/s2.png)." in empty
    assert "s0.png and others hold 90, 91, which are of no class; give it a class under dataset.codes" in codes
    assert "(the same is wrong with 19 more files, such as" in codes


def test_mistakes_that_differ_in_numbers_are_the_same(root):
    for k in range(5):
        Image.fromarray(pixels_of(k)).save(root / "train" / "images" / f"s{k}.png")
        Image.fromarray(mask_of(k, (20, 20 + k))).save(root / "train" / "masks" / f"s{k}.png")
    (problem,) = folder_of(root).problems()
    assert "s0.png has 20 x 20 pixels and its image 20 x 30; copy the pair again" in problem
    assert "(the same is wrong with 4 more files" in problem


def test_pictures_that_are_not_read_are_told_unless_beside_one_that_is(root):
    for name in ("s0.bmp", "new.bmp", "new.nii.gz", "notes.txt", ".hidden.webp"):
        (root / "train" / "images" / name).write_bytes(b"x")
    (root / "train" / "masks" / "s0.jpg").write_bytes(b"a preview")
    problems = folder_of(root).problems()
    assert [Path(p.split()[1]).name for p in problems] == ["new.bmp", "new.nii.gz"]
    assert "is of a format that is not read; save it as PNG or TIFF or move it elsewhere" in problems[0]


def test_a_mask_that_is_a_jpeg_is_told_as_that(root):
    mask = root / "train" / "masks" / "s0.png"
    mask.unlink()
    Image.fromarray(mask_of(0)).save(mask.with_suffix(".jpg"))
    (problem,) = folder_of(root).problems()
    assert "masks/s0.jpg is compressed as a JPEG, which alters values" in problem


def test_two_masks_of_one_name_are_a_problem(root):
    Image.fromarray(mask_of(0)).save(root / "train" / "masks" / "s0.tif")
    (problem,) = folder_of(root).problems()
    assert "s0.tif and s0.png are masks of one name; keep one" in problem


def test_a_folder_that_may_not_be_listed_is_told_as_that(root, monkeypatch):
    forbidden, listing = root / "train" / "masks", Path.iterdir

    def refuse(path):
        if path == forbidden:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return listing(path)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match=r"train/masks cannot be listed \(Permission denied\); give yourself the right"):
        folder_of(root).problems()


def test_a_home_of_nobody_is_no_traceback():
    assert "there is no ~nobody-at-all/x/train/images" in error_of("~nobody-at-all/x")


def test_an_image_in_two_formats_is_a_problem(root):
    Image.fromarray(pixels_of(0)).save(root / "train" / "images" / "s0.jpg")
    assert any("several images train-s0; keep one" in problem for problem in folder_of(root).problems())


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("where", [0.3, 0.5, 0.9])
def test_a_flipped_byte_is_found_when_the_file_is_read(root, kind, where):
    file = root / "train" / kind / "s0.png"
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 0xFF
    file.write_bytes(data)
    folder = folder_of(root)
    with pytest.raises(UserError, match=r"s0\.png is damaged.*copy the file again"):
        folder.image("train-s0") if kind == "images" else folder.labels("train-s0")


def test_unknown_codes_are_named_when_read(root):
    Image.fromarray(np.arange(90, 100, dtype=np.uint8)[None]).save(root / "train" / "masks" / "s0.png")
    with pytest.raises(UserError, match="holds 90, 91, 92, 93, 94 and 5 more, which is of no class"):
        folder_of(root).labels("train-s0")


def test_missing_files_are_named_when_read(root):
    folder = folder_of(root)
    assert folder.ids("train", 0)
    (root / "train" / "images" / "s0.png").unlink()
    (root / "train" / "masks" / "s0.png").unlink()
    for ask in (folder.image, folder.labels, folder.shape):
        with pytest.raises(UserError, match=r"s0\.png"):
            ask("train-s0")
    with pytest.raises(KeyError, match="There is no image 'train-s9'"):
        folder.image("train-s9")


def test_fingerprint_follows_content_codes_and_names_but_not_the_place(root, tmp_path_factory):
    fingerprint = folder_of(root).fingerprint()
    copy = tmp_path_factory.mktemp("copies") / "data"
    shutil.copytree(root, copy)
    assert folder_of(copy).fingerprint() == fingerprint
    assert folder_of(root, {**CODES, "vehicle": (26,)}, (0, 27)).fingerprint() != fingerprint
    assert folder_of(root, dict(reversed(CODES.items()))).fingerprint() != fingerprint

    def changed(change) -> str:
        shutil.rmtree(copy)
        shutil.copytree(root, copy)
        change()
        return folder_of(copy).fingerprint()

    def one_pixel_more(kind, values):
        values.ravel()[-1] ^= 4
        Image.fromarray(values).save(copy / "train" / kind / "s0.png")

    found = {
        fingerprint,
        changed(lambda: one_pixel_more("images", pixels_of(0))),
        changed(lambda: one_pixel_more("masks", mask_of(0))),
        changed(lambda: (copy / "train" / "images" / "s0.png").rename(copy / "train" / "images" / "s9.png")),
        changed(lambda: (copy / "test" / "masks" / "s0.png").unlink()),
    }
    assert len(found) == 5


def test_fingerprint_sees_a_change_in_the_middle_of_a_large_file(tmp_path):
    """Only the ends of a PNG are read, but the last one holds the checksum of all pixels."""
    pixels, mask = pixels_of(0, (300, 400)), mask_of(0, (300, 400))
    for split in ("train", "test"):
        for kind, values in (("images", pixels), ("masks", mask)):
            (tmp_path / split / kind).mkdir(parents=True)
            Image.fromarray(values).save(tmp_path / split / kind / "a.png", compress_level=0)
    fingerprint, file = folder_of(tmp_path).fingerprint(), tmp_path / "train" / "images" / "a.png"
    before = file.stat().st_size
    pixels[150, 200] ^= 1
    Image.fromarray(pixels).save(file, compress_level=0)
    assert file.stat().st_size == before > 300_000
    assert folder_of(tmp_path).fingerprint() != fingerprint


def test_label_255_means_no_class_so_there_are_at_most_255():
    assert len(Codes.of({f"c{k}": k for k in range(255)}, ()).labels) == 255
    with pytest.raises(ValueError, match="256 classes are too many, since label 255 means none; give at most 255"):
        Codes.of({f"c{k}": k for k in range(256)}, ())


@given(st.data())
def test_decoding_equals_a_look_up_pixel_by_pixel(data):
    codes = data.draw(st.lists(st.integers(0, 255), min_size=2, max_size=12, unique=True))
    n_classes = data.draw(st.integers(1, len(codes) - 1))
    classes = {f"c{k}": codes[k] for k in range(n_classes)}
    seed = data.draw(st.integers(0, 2**32 - 1))
    mask = np.random.default_rng(seed).integers(0, 256, (7, 5), np.uint8)
    expected = [[codes.index(v) if v in codes[:n_classes] else IGNORE for v in row] for row in mask.tolist()]
    labels, unknown = Codes.of(classes, codes[n_classes:]).decode(mask)
    assert labels.tolist() == expected
    assert unknown == tuple(sorted(set(mask.ravel().tolist()) - set(codes)))

    def colour(v: int) -> int:
        return v << 16 | (255 - v) << 8 | v // 3

    picture = np.stack([mask, 255 - mask, mask // 3], axis=-1)
    names = {name: f"#{colour(v):06x}" for name, v in classes.items()}
    table = Codes.of(names, [f"#{colour(v):06X}" for v in codes[n_classes:]])
    labels, unknown = table.decode(picture)
    assert labels.tolist() == expected
    assert unknown == tuple(sorted({colour(v) for v in mask.ravel().tolist()} - {colour(v) for v in codes}))


def unlabelled(root) -> Folder:
    return Folder(str(root), CODES, (0,), labelled=False)


def test_a_pool_that_people_label_needs_no_masks_and_has_no_labels(root):
    shutil.rmtree(root / "train" / "masks")
    data = unlabelled(root)
    assert data.problems() == []
    assert data.ids("train", 0) == tuple(f"train-s{k}" for k in range(3))
    assert (data.labels("train-s0") == IGNORE).all()
    assert data.labels("train-s0").shape == (20, 30)
    assert np.array_equal(data.labels("test-s1"), labels_of(mask_of(5)))
    assert data.original_files("train-s0") == (root / "train" / "images" / "s0.png",)


def test_masks_of_a_pool_that_people_label_are_not_read(root):
    labelled, data = folder_of(root).fingerprint(), unlabelled(root)
    fingerprint = data.fingerprint()
    assert fingerprint != labelled
    (root / "train" / "masks" / "s0.png").write_bytes(b"not a mask")
    (root / "train" / "masks" / "stray.png").write_bytes(b"")
    assert data.problems() == []
    assert data.fingerprint() == fingerprint


def test_test_masks_are_optional_where_people_label_the_pool(root):
    (root / "test" / "masks" / "s0.png").unlink()
    (sentence,) = unlabelled(root).problems()
    assert "test/images/s0.png has no mask" in sentence
    shutil.rmtree(root / "test" / "masks")
    assert Folder(str(root), {**CODES}, (0, 1), labelled=False).ids("test", 0) == ()
    shutil.rmtree(root / "test")
    assert unlabelled(root).problems() == []
    with pytest.raises(UserError, match=r"there is no .*test/images"):
        folder_of(root)
