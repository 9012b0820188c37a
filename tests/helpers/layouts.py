"""Small data sets in the layouts of others, with scenes that a small network can learn: bright squares and discs."""

import json

import cv2
import numpy as np
import tifffile
from PIL import Image

SHAPE = (48, 64)
GREYS = (40, 200, 120)


def scene(number: int) -> np.ndarray:
    """Labels of a scene: 0 background, 1 square, 2 disc; shape (H, W), uint8."""
    rng = np.random.default_rng(number)
    labels = np.zeros(SHAPE, np.uint8)
    for _ in range(3):
        (y, x), side = rng.integers(2, (30, 46)), int(rng.integers(8, 16))
        labels[y : y + side, x : x + side] = 1
        cv2.circle(labels, (int(rng.integers(8, 56)), int(rng.integers(8, 40))), int(rng.integers(4, 9)), 2, -1)
    return labels


def picture(labels: np.ndarray) -> np.ndarray:
    """A grey picture of a scene with some noise, shape (H, W), uint8."""
    noise = np.random.default_rng(int(labels.sum())).normal(0, 8, labels.shape)
    return np.clip(np.array(GREYS)[labels] + noise, 0, 255).astype(np.uint8)


def save_picture(file, labels):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(picture(labels)[..., None], 3, axis=2)).save(file)


def write_voc(root, counts=(("train", 4), ("val", 2))):
    """The layout of PASCAL VOC, with palette masks whose first row is 255; returns the labels of each image."""
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (root / "SegmentationClass").mkdir()
    written = {}
    for split, count in counts:
        names = [f"2007_{len(written) + k:06d}" for k in range(count)]
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            labels = written[name] = scene(len(written))
            save_picture(root / "JPEGImages" / f"{name}.jpg", labels)
            labels[0] = 255
            mask = Image.fromarray(labels, "P")
            mask.putpalette([value for k in range(256) for value in (k, 255 - k, 7)])
            mask.save(root / "SegmentationClass" / f"{name}.png")
    return written


def square(left, top, side, category, image, **others):
    """An annotation whose outline is a square of whole pixels."""
    right, bottom = left + side, top + side
    outline = [[left, top, right, top, right, bottom, left, bottom]]
    return {"image_id": image, "category_id": category, "segmentation": outline, "iscrowd": 0, **others}


def of_scene(labels, image):
    """Annotations of a scene: its squares and its discs, in run lengths."""
    for category in (1, 2):
        inside = np.concatenate([[0], (labels == category).ravel(order="F"), [0]]).astype(int)
        changes = np.flatnonzero(np.diff(inside))
        runs = np.diff(np.concatenate([[0], changes, [labels.size]])).tolist()
        if len(changes):
            segmentation = {"size": list(labels.shape), "counts": runs}
            yield {"image_id": image, "category_id": 10 * category, "segmentation": segmentation, "iscrowd": 0}


def write_coco(root, counts=(("train2017", 4), ("val2017", 2)), panoptic=False):
    """The layout of COCO, with run lengths or panoptic PNG files; returns the labels of each image by its file name."""
    kind = "panoptic" if panoptic else "instances"
    categories = [{"id": 10, "name": "square"}, {"id": 20, "name": "disc"}]
    written = {}
    for folder, count in counts:
        images, annotations = [], []
        for _ in range(count):
            number = len(written)
            labels = written[f"{number:012d}.jpg"] = scene(number)
            save_picture(root / folder / f"{number:012d}.jpg", labels)
            images.append({"id": number, "file_name": f"{number:012d}.jpg", "height": SHAPE[0], "width": SHAPE[1]})
            if not panoptic:
                annotations += of_scene(labels, number)
                continue
            segments = [{"id": 300 * label, "category_id": 10 * label, "iscrowd": 0} for label in (1, 2)]
            png = root / "annotations" / f"panoptic_{folder}" / f"{number:012d}.png"
            png.parent.mkdir(parents=True, exist_ok=True)
            numbers = labels.astype(int) * 300
            Image.fromarray(np.dstack([numbers % 256, numbers // 256, numbers * 0]).astype(np.uint8)).save(png)
            annotations.append({"image_id": number, "file_name": png.name, "segments_info": segments})
        contents = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations").mkdir(exist_ok=True)
        for k, annotation in enumerate(annotations):
            annotation.setdefault("id", k)
        (root / "annotations" / f"{kind}_{folder}.json").write_text(json.dumps(contents))
    return written


def write_cells(root, channels, counts=(("train", 4), ("test", 2))):
    """Folders of microscopy: TIFF of 16 bits, of one channel or of several as pages, of which the last shows most."""
    rng = np.random.default_rng(0)
    number = 0
    for split, count in counts:
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for _ in range(count):
            labels = scene(number)
            weak = rng.integers(90, 110, (channels, *SHAPE)).astype(np.uint16)
            weak[-1] += picture(labels).astype(np.uint16) * 16
            pixels, axes = (weak, "CYX") if channels > 1 else (weak[0], "YX")
            tifffile.imwrite(root / split / "images" / f"s{number}.tif", pixels, imagej=True, metadata={"axes": axes})
            tifffile.imwrite(root / split / "masks" / f"s{number}.tif", labels, compression="zlib", metadata=None)
            number += 1
