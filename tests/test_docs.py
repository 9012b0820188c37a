"""The documentation: its site builds strictly, loads nothing from elsewhere, and says what is true of the code."""

import ast
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import zlib
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml
from helpers.layouts import write_cells, write_coco, write_voc
from helpers.toy_runs import run_locally
from PIL import Image
from typer.testing import CliRunner

from decomp.experiments.cli import app
from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform.annotation.query import Classes, Query
from decomp.platform.components import build_dataset, build_format
from decomp.platform.datasets.synthetic.digits import Digits
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *(ROOT / "docs").rglob("*.md")]
)
LAYERS = ("platform", "actors", "experiments")
COMMANDS = typer.main.get_command(app).commands
COMMAND = re.compile(r"(?:^|[\s/`'])decomp ([a-z][^`'#]*)")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<content>.*?)^```", re.MULTILINE | re.DOTALL)
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def commands_in(page):
    """What follows `decomp` in code blocks and code spans, split as a shell would."""
    code = []
    for line in re.sub(r"\\\n\s*", " ", page.read_text()).splitlines():
        code += [line] if line.startswith("    ") else re.findall(r"`decomp [^`]*`", line)
    return [shlex.split(command) for line in code for command in COMMAND.findall(line)]


def blocks_in(page, language):
    text = re.sub(r'--8<-- "(experiments/.*)"', lambda match: (ROOT / match[1]).read_text(), page.read_text())
    return [match["content"] for match in BLOCK.finditer(text) if match["language"] == language]


class Loaded(HTMLParser):
    """Addresses of what a browser loads to show a page."""

    def __init__(self, page):
        super().__init__()
        self.addresses = []
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        self.addresses += [value for name, value in attributes if name == LOADING.get(tag) and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; that it builds strictly means no broken link, missing page or unresolved reference."""
    folder = tmp_path_factory.mktemp("site")
    shutil.rmtree(ROOT / "build" / "site-sources", ignore_errors=True)  # as in a fresh clone
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]  # --quiet counts no warnings
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_loads_nothing_from_other_hosts(site):
    built = list(site.rglob("*.html"))
    addresses = [address for page in built for address in Loaded(page).addresses]
    assert len(addresses) > len(built)
    assert [a for a in addresses if re.match(r"(https?:)?//", a)] == []
    styles = [
        style for style in site.rglob("*.css") if re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", style.read_text())
    ]
    assert styles == []


def test_equations_are_rendered(site):
    html = (site / "method.html").read_text()
    equations = [
        unescape(re.sub(r"<.*?>", "", equation)) for equation in re.findall(r'<math[^>]*"block">.*?</math>', html)
    ]
    for number in ("(1)", "(2)", "(3)"):
        assert sum(equation.endswith(number) for equation in equations) == 1
    for page in site.rglob("*.html"):
        assert 'class="arithmatex"' not in page.read_text(), page


def test_every_documented_name_has_its_reference(site):
    inventory = {line.split(" ")[0] for line in _inventory(site)}
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            module = ".".join(("decomp", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                    assert f"{module}.{node.name}" in inventory


@pytest.mark.parametrize(
    "contract",
    [
        "datasets.base.Dataset",
        "learners.base.Learner",
        "learners.base.Predictor",
        "learners.base.Training",
        "samplers.base.ImageSelector",
        "samplers.base.RegionSelector",
        "partitions.Partition",
        "ledger.Ledger",
        "regions.Region",
        "storage.records.CycleRecord",
        "storage.runs.RunStore",
        "storage.location.Location",
    ],
)
def test_contracts_are_on_the_first_pages_of_the_reference(site, contract):
    (line,) = [line for line in _inventory(site) if line.startswith(f"decomp.platform.{contract} ")]
    assert re.search(r" api/\w+\.html#", line)


def test_sections_that_the_code_cites_are_in_the_method_notes(site):
    anchors = set(re.findall(r'id="sec-(\d+)"', (site / "method.html").read_text()))
    assert anchors >= set("123456789")
    cited = {
        section
        for layer in LAYERS
        for path in (ROOT / layer).rglob("*.py")
        for citation in re.findall(r"Sec\.\s+([\d and]+)\s+of\s+the\s+method\s+notes", path.read_text())
        for section in re.findall(r"\d+", citation)
    }
    assert len(cited) > 5
    assert cited <= anchors
    assert '<a href="../method.html#sec-6">Sec. 6</a>' in (site / "api" / "samplers.html").read_text()


@pages
def test_commands_exist_with_their_options(page):
    for name, *arguments in commands_in(page):
        assert name in COMMANDS, f"decomp {name}"
        if arguments:  # text may name a command alone
            COMMANDS[name].make_context(name, list(arguments))


@pages
def test_experiments_that_commands_name_exist_and_take_the_overrides(page):
    written = {f"{name}.yaml" for name in re.findall(r"^# (\w+)\.yaml$", page.read_text(), re.MULTILINE)}
    for _, *arguments in commands_in(page):
        for file in (argument for argument in arguments if argument.endswith(".yaml") and argument not in written):
            assert (ROOT / file).is_file(), file
            load_experiment(ROOT / file, [a for a in arguments if re.fullmatch(r"[a-z_.]+=.*", a)])


@pages
def test_benchmarks_that_are_named_exist(page):
    for module in re.findall(r"python -m decomp\.(experiments\.bench\.\w+)", page.read_text()):
        assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), module


@pages
def test_yaml_is_valid_in_an_experiment(page, tmp_path):
    for number, block in enumerate(blocks_in(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        part = "name" not in yaml.safe_load(block)
        file.write_text(f"extends: {ROOT}/experiments/digits.yaml\n{block}" if part else block)
        load_experiment(file)


def test_the_architecture_names_what_is_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    layer, missing = "", []
    for line in text.splitlines():
        layer = match[1] if (match := re.match(r"\| `(platform|actors|experiments)/` \| \|$", line)) else layer
        for name in re.findall(r"`([\w/]+(?:/|\.py))`", line):
            missing += [name] if not any((ROOT / base / name).exists() for base in ("", layer)) else []
    assert missing == []
    packages = {f"{path.parent.name}/" for layer in LAYERS for path in (ROOT / layer).glob("*/*.py")}
    modules = {path.name for layer in LAYERS for path in (ROOT / layer).glob("*.py") if path.name[0] != "_"}
    assert {name for name in packages | modules if f"`{name}`" not in text} == set()


def test_there_are_commands_and_experiments_to_check():
    assert sum(len(commands_in(page)) for page in PAGES) > 30
    assert sum(len(blocks_in(page, "yaml")) for page in PAGES) >= 5


def test_the_module_and_experiment_of_the_tutorial_run(tmp_path, monkeypatch):
    page = ROOT / "docs" / "own.md"
    write_tutorial(tmp_path)
    (experiment,) = blocks_in(page, "yaml")
    (tmp_path / "mine.yaml").write_text(experiment)
    monkeypatch.syspath_prepend(tmp_path)
    overrides = [f"storage={tmp_path / 'runs'}", "seeds=1", "dataset.images=6", "learner.steps=3"]
    plan = make_plan(load_experiment(tmp_path / "mine.yaml", overrides))
    assert plan.dataset.problems() == []
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    assert len(plan.runs) == 10
    for store in plan.compared:
        assert store.finished
        regions = store.ledger(store.committed()).annotations()
        assert {row.region.image.split("-")[0] for row in regions} == {"train"}
    rarest = [store for store in plan.stores(plan.runs) if store.spec.sampler.name == "rarest"]
    own = [row for store in rarest for row in store.ledger(store.committed()).annotations() if row.cycle > 1]
    assert own
    assert all(row.drawn_class is not None for row in own)


def write_tutorial(folder):
    """Write `mine.py` and `test_mine.py` of the tutorial into a folder."""
    blocks = blocks_in(ROOT / "docs" / "own.md", "python")
    (tests,) = [block for block in blocks if block.startswith("# test_mine.py\n")]
    (folder / "mine.py").write_text("\n\n".join(block for block in blocks if block != tests))
    (folder / "test_mine.py").write_text(tests)


def test_the_tutorial_imports_the_public_surface_alone(tmp_path):
    write_tutorial(tmp_path)
    for file, allowed in (("mine.py", {"api"}), ("test_mine.py", {"testing"})):
        imported = set()
        for node in ast.walk(ast.parse((tmp_path / file).read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        ours = {name.split(".")[2] for name in imported if name.startswith("decomp.")}
        assert ours == allowed
        assert all(name.startswith("decomp.platform.") for name in imported if name.startswith("decomp"))


def test_the_tests_of_the_tutorial_pass(tmp_path, monkeypatch):
    write_tutorial(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    tests = [test for name, test in runpy.run_path(tmp_path / "test_mine.py").items() if name.startswith("test_")]
    assert tests
    for test in tests:
        test()


def test_the_experiment_of_own_images_runs(tmp_path, monkeypatch):
    (experiment, *_) = blocks_in(ROOT / "docs" / "tasks" / "images.md", "yaml")
    (tmp_path / "mine.yaml").write_text(experiment)
    rng = np.random.default_rng(0)
    for split, n_images in (("train", 6), ("test", 2)):
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for k in range(n_images):
            codes = rng.choice([0, 1, 2, 3, 255], (64, 96)).astype(np.uint8)
            Image.fromarray(codes).save(tmp_path / "data" / split / "masks" / f"s{k}.png")
            Image.fromarray(np.dstack([codes * 9] * 3)).save(tmp_path / "data" / split / "images" / f"s{k}.jpg")
    monkeypatch.chdir(tmp_path)
    plan = make_plan(load_experiment(Path("mine.yaml"), ["seeds=1", "learner.iterations=3", "budgets.0.cycles=2"]))
    assert plan.dataset.problems() == []
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    assert all(store.finished for store in plan.compared)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("cells", lambda folder: write_cells(folder / "cells", channels=1)),
        ("cells", lambda folder: write_cells(folder / "cells", channels=4)),
        ("voc", lambda folder: write_voc(folder / "VOCdevkit" / "VOC2012")),
        ("coco", lambda folder: write_coco(folder / "coco")),
    ],
    ids=["one channel", "four channels", "voc", "coco"],
)
def test_the_experiment_of_each_layout_works_as_pasted(name, write, tmp_path, monkeypatch):
    blocks = blocks_in(ROOT / "docs" / "tasks" / "images.md", "yaml")
    (experiment,) = [block for block in blocks if block.startswith(f"# {name}.yaml\n")]
    (tmp_path / f"{name}.yaml").write_text(experiment)
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    small = ["seeds=1", "samplers=[decomp]", "budgets.0.n_image=2", "budgets.0.cycles=2"]
    plan = make_plan(load_experiment(Path(f"{name}.yaml"), [*small, "learner.iterations=60", "learner.batch=8"]))
    assert plan.dataset.problems() == []
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    for store in plan.compared:
        assert store.finished
        assert store.committed()[-1].record.metrics["miou"] > 0.4  # background alone gives less


def test_parts_of_experiments_on_panoptic_segments_and_exports_read_them(tmp_path, monkeypatch):
    parts = [block for block in blocks_in(ROOT / "docs" / "tasks" / "images.md", "yaml") if block[:8] == "dataset:"]
    monkeypatch.chdir(tmp_path)
    export, panoptic = (Component("coco", yaml.safe_load(part)["dataset"]) for part in parts)
    splits = {"train": 3, "valid": 1, "test": 1}
    write_coco(tmp_path / "export", tuple(splits.items()))
    for split in splits:
        file = tmp_path / "export" / "annotations" / f"instances_{split}.json"
        file.rename(tmp_path / "export" / split / "_annotations.coco.json")
    write_coco(tmp_path / "coco", panoptic=True)
    for component, pools in ((export, 3), (panoptic, 4)):
        del component.options["name"]
        dataset = build_dataset(component)
        assert dataset.problems() == []
        assert len(dataset.ids("train", 0)) == pools


def _inventory(site):
    """Lines of the inventory of documented names: name, kind, priority, address."""
    content = (site / "objects.inv").read_bytes()
    return zlib.decompress(content.split(b"\n", 4)[4]).decode().splitlines()


def write_blocks(page, folder):
    """Write the files whose blocks begin with their name in a comment."""
    for language in ("python", "yaml"):
        for block in blocks_in(page, language):
            if name := re.match(r"# ([\w.]+)", block):
                (folder / name[1].rstrip(":")).write_text(block)


def test_the_example_of_annotation_works_as_pasted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_blocks(ROOT / "docs" / "annotate.md", tmp_path)
    runpy.run_path("scenes.py")
    command = ["annotate", "scenes.yaml", "learner.iterations=3"]
    for cycle in range(1, 5):
        out = CliRunner().invoke(app, command).output
        assert f"scenes, cycle {cycle}: 0 of 12 regions are annotated." in out, out
        runpy.run_path("answer.py")
    assert "all cycles are annotated" in CliRunner().invoke(app, command).output
    (run,) = make_plan(load_experiment(tmp_path / "scenes.yaml", command[2:])).compared
    regions = [row.region for row in run.ledger(run.committed()).annotations()]
    digits = Digits()
    true = np.concatenate([region.of(digits.labels(region.image.removeprefix("train-"))) for region in regions])
    assert run.committed()[-1].record.annotated.class_pixels == tuple(np.bincount(true, minlength=13))


def test_the_format_of_ones_own_is_written_and_read(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write_blocks(ROOT / "docs" / "annotate.md", tmp_path)
    letters = build_format(Component("letters:Letters", {"file": "mine.txt"}))
    query, classes = Query("cycle-0001-001", "s1", (), (8, 8), ((0, 2), (3, 6))), Classes(("sky", "road"))
    file = letters.write([query], classes, tmp_path)
    assert list(letters.read([query], classes, tmp_path)) == []
    file.write_text(f"{query.id}: road\n")
    assert letters.write([query], classes, tmp_path).read_text() == f"{query.id}: road\n"
    (answer,) = letters.read([query], classes, tmp_path)
    assert np.array_equal(answer.labels, np.ones((2, 3)))
    file.write_text(f"{query.id}: raod\n")
    with pytest.raises(UserError, match="'raod' is no class"):
        list(letters.read([query], classes, tmp_path))
