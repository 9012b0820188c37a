"""Takes the pictures of ../annotate-formats.md from Label Studio's own pages, in headless Chromium.

    pip install playwright                # drives a Chromium that is installed already, e.g. apt-get install chromium
    python -m venv label-studio && label-studio/bin/pip install label-studio
    export LABEL_STUDIO_USERNAME=ann@example.org LABEL_STUDIO_PASSWORD=secret1234
    export LABEL_STUDIO_USER_TOKEN=0123456789abcdef0123456789abcdef01234567 LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true
    label-studio/bin/label-studio start --no-browser &
    python docs/annotate/screenshots.py http://127.0.0.1:8080

It writes the scenes of the demonstration as files, annotates a first cycle with their true labels, and opens a region
of the second one, with what the model then predicts. The pictures go beside this file.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from decomp.platform.annotation import brush
from decomp.platform.datasets.synthetic.digits import Digits

SCENES, REGION, ITERATIONS = 24, 32, 300
WIDTH, HEIGHT = 1200, 880
OPENED = 4  # number of the region on the pictures


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", help="of Label Studio")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the program; by default from the PATH")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        project = import_cycle(options.address, second_cycle(Path(folder)))
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(60_000)
        log_in(page, options.address)
        page.goto(f"{options.address}/projects/{project}/data?labeling=1")
        page.get_by_text("cycle-0002-001").wait_for()
        page.wait_for_timeout(5_000)  # until the prediction is drawn
        take(page, "label-studio")
        browser.close()


def second_cycle(folder: Path) -> Path:
    """Annotate the first cycle of a new run; returns the folder of the second one."""
    data = Digits()
    for image in data.ids("train", 0)[:SCENES]:
        for kind, pixels in (("images", data.image(image)), ("masks", data.labels(image))):
            (folder / "scenes" / "train" / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / "scenes" / "train" / kind / f"{image}.png")
    experiment = {
        "name": "scenes",
        "dataset": {
            "name": "folder",
            "root": str(folder / "scenes"),
            "labelled": False,
            "codes": {name: label for label, name in enumerate(data.classes)},
        },
        "learner": {"name": "unet", "iterations": ITERATIONS},
        "samplers": ["decomp"],
        "budgets": [{"n_image": OPENED, "n_region": 4, "region": [REGION, REGION], "cycles": 2}],
        "seeds": 1,
        "reference": None,
        "annotation": {"format": "label-studio"},
        "storage": str(folder / "runs"),
    }
    file = folder / "scenes.yaml"
    file.write_text(yaml.safe_dump(experiment, sort_keys=False))
    command = [sys.executable, "-m", "decomp.experiments", "annotate", str(file)]
    subprocess.run(command, check=True)
    (first,) = folder.glob("runs/scenes/annotation/*/cycle-0001")
    answer(first, data)
    subprocess.run(command, check=True)
    (second,) = folder.glob("runs/scenes/annotation/*/cycle-0002")
    return second


def answer(cycle: Path, data: Digits) -> None:
    """Hand back the true labels of all regions, as an export of Label Studio."""
    exported = []
    for task in json.loads((cycle / "label-studio.json").read_text()):
        labels = data.labels(task["data"]["image_id"].removeprefix("train-"))
        window = tuple(slice(*bounds) for bounds in task["data"]["window"])
        result = []
        for label in np.unique(labels[window]).tolist():
            painted = np.zeros(labels.shape, np.bool_)
            painted[window] = labels[window] == label
            value = {"format": "rle", "rle": brush.encode(painted), "brushlabels": [data.classes[label]]}
            height, width = labels.shape
            size = {"original_height": height, "original_width": width}
            result.append({"type": "brushlabels", "from_name": "brush", "value": value, **size})
        exported.append({"data": task["data"], "annotations": [{"result": result}]})
    (cycle / "answers" / "export.json").write_text(json.dumps(exported))


def import_cycle(address: str, cycle: Path) -> int:
    """Make a project with a cycle's tasks; returns its number."""
    config = (cycle / "label-studio.xml").read_text()
    project = call(address, "/projects", {"title": "scenes", "label_config": config})["id"]
    call(address, f"/projects/{project}/import", json.loads((cycle / "label-studio.json").read_text()))
    return int(project)


def call(address: str, path: str, body: Any) -> Any:
    """What the API answers."""
    headers = {"Authorization": f"Token {os.environ['LABEL_STUDIO_USER_TOKEN']}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api{path}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answered:
        return json.loads(answered.read())


def log_in(page: Page, address: str) -> None:
    """As the user whom the server was started with."""
    page.goto(f"{address}/user/login")
    page.fill("input[name=email]", os.environ["LABEL_STUDIO_USERNAME"])
    page.fill("input[name=password]", os.environ["LABEL_STUDIO_PASSWORD"])
    page.click("button[type=submit]")
    page.wait_for_load_state("networkidle")


def take(page: Page, name: str) -> None:
    """Write a picture in 256 colours, which are enough."""
    file = Path(__file__).with_name(f"{name}.png")
    page.screenshot(path=file)
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(256, kmeans=2, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
