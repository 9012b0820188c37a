"""The layout: which package may import which, no circles, no long modules, every package installed."""

import ast
import functools
import graphlib
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("platform", "actors", "experiments")
LONGEST = 320
"""Lines of a module; a longer one holds more than one concept. Benches are scripts, read once from top to bottom."""

MAY_IMPORT = {
    "platform": "",
    "platform.spec": "platform",
    "platform.datasets.base": "platform",
    "platform.samplers": "platform spec datasets.base",
    "platform.storage": "platform spec",
    "platform.metrics": "platform datasets.base",
    "platform.partitions": "platform datasets.base",
    "platform.datasets.formats": "platform datasets.base",
    "platform.datasets": "platform datasets.base datasets.formats",
    "platform.datasets.synthetic": "platform datasets.base datasets.formats datasets",
    "platform.learners.base": "platform metrics datasets.base",
    "platform.learners.reproducible": "",
    "platform.learners.devices": "platform learners.reproducible",
    "platform.learners.checkpoints": "platform",
    "platform.learners.networks": "datasets.formats",
    "platform.learners.training": "platform datasets.base learners.base learners.devices learners.networks",
    "platform.learners.inference": "platform metrics datasets.base learners.base learners.reproducible "
    "learners.devices learners.networks",
    "platform.learners": "platform metrics datasets.base datasets.formats learners.base learners.reproducible "
    "learners.devices learners.checkpoints learners.networks learners.training learners.inference",
    "platform.learners.nnunet": "platform storage metrics datasets.base datasets.formats datasets learners.base "
    "learners.reproducible learners.devices learners.checkpoints learners.training learners.inference",
    "platform.annotation": "platform spec storage datasets.base datasets.formats",
    "platform.components": "platform spec samplers partitions datasets learners annotation",
    "platform.loop": "platform annotation spec storage samplers metrics partitions datasets.base learners.base "
    "learners.inference components",
    "platform.api": "platform annotation samplers metrics partitions datasets.base datasets.formats datasets "
    "learners.base learners.reproducible learners.checkpoints learners.training learners.inference",
    "platform.testing": "platform spec samplers metrics partitions datasets.base learners.base learners.inference",
    "actors": "platform spec storage datasets.base datasets learners.base learners.training components loop",
    "experiments": "",
    "experiments.console": "platform",
    "experiments.interruption": "experiments.console",
    "experiments.convert": "platform datasets.base datasets.formats datasets",
    "experiments.listing": "platform spec samplers partitions datasets learners annotation components",
    "experiments.lock": "platform storage",
    "experiments.written": "platform",
    "experiments.windows": "platform spec datasets.base",
    "experiments.schema": "platform experiments.written experiments.windows spec storage samplers actors",
    "experiments.problems": "platform spec samplers datasets.base datasets components experiments.schema",
    "experiments.import_marks": "platform storage",
    "experiments.report.run_history": "platform spec storage experiments.import_marks",
    "experiments.plan": "platform annotation loop spec storage metrics datasets.base datasets components "
    "experiments.report.run_history experiments.windows experiments.schema experiments.problems",
    "experiments.status": "platform storage actors experiments.console experiments.report.run_history experiments.plan "
    "experiments.lock experiments.interruption",
    "experiments.report": "platform components loop spec storage metrics datasets.base experiments.report.run_history "
    "experiments.schema experiments.plan",
    "experiments.prospects": "platform storage experiments.report.run_history experiments.plan experiments.report",
    "experiments.description": "experiments.schema experiments.plan experiments.report",
    "experiments.archives": "platform spec storage experiments.import_marks experiments.report.run_history "
    "experiments.report experiments.description",
    "experiments.arguments": "platform experiments.schema experiments.plan",
    "experiments.watching": "platform loop experiments.console experiments.schema experiments.plan experiments.status "
    "experiments.arguments experiments.lock",
    "experiments.submitting": "platform experiments.console experiments.plan experiments.arguments",
    "experiments.sources": "platform spec storage experiments.report.run_history experiments.report "
    "experiments.description experiments.archives experiments.arguments",
    "experiments.verdict": "platform experiments.report.run_history experiments.report experiments.description "
    "experiments.sources",
    "experiments.results": "experiments.report.run_history experiments.report experiments.description "
    "experiments.sources experiments.verdict",
    "experiments.study": "platform storage experiments.console experiments.schema experiments.report.run_history "
    "experiments.report experiments.description experiments.sources experiments.verdict",
    "experiments.checking": "platform components spec experiments.console experiments.report.run_history "
    "experiments.plan experiments.report experiments.prospects",
    "experiments.tracking": "platform components spec storage datasets.base experiments.import_marks "
    "experiments.report.run_history "
    "experiments.report",
    "experiments.reporting": "platform experiments.console experiments.report.run_history experiments.plan "
    "experiments.report experiments.tracking",
    "experiments.running": "platform storage actors experiments.console experiments.report.run_history "
    "experiments.plan experiments.status experiments.archives experiments.tracking",
    "experiments.annotating": "platform annotation spec storage components loop actors experiments.console "
    "experiments.interruption experiments.arguments experiments.plan experiments.status "
    "experiments.report.run_history experiments.report",
    "experiments.cli": "ANY",
    "experiments.__main__": "experiments.cli",
    "experiments.bench": "ANY",
}
"""What a package, or a module that has a row of its own, may import besides itself: rows above it, without their
``platform.``. The row ``platform`` stands for the nouns at its root (regions, ledger, predictions, ...)."""

ENGINES = {
    "ray": ("actors", "experiments.cli", "experiments.bench"),
    "mlflow": ("experiments.tracking.mlflow_experiment", "experiments.bench"),
}
"""Who may import them: modules, or all modules of a package."""

MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
}
PACKAGES = {".".join(path.parent.relative_to(ROOT).parts) for path in MODULES.values()}


@functools.cache
def imported(path):
    """Names that a module imports anywhere, also in functions, for types alone or with importlib."""
    return frozenset(_names(path))


def _names(path):
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                assert node.level == 0, f"{path}: relative import"
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def modules_imported(path):
    """The project's own modules among them."""
    names = {name.removeprefix("decomp.") for name in imported(path) if name.startswith("decomp.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names}


def row_of(module):
    return module if module in MAY_IMPORT or module in PACKAGES else module.rpartition(".")[0]


def rows_allowed(row):
    rows = list(MAY_IMPORT)
    if MAY_IMPORT[row] == "ANY":
        return set(rows[: rows.index(row)])
    return {name if name in MAY_IMPORT else f"platform.{name}" for name in MAY_IMPORT[row].split()}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_row_allows(module):
    row = row_of(module)
    assert row in MAY_IMPORT, f"{module} has no row in MAY_IMPORT; give it one"
    imports = {name: row_of(name) for name in modules_imported(MODULES[module])}
    refused = {name for name, other in imports.items() if other not in rows_allowed(row) | {row}}
    assert not refused, f"{module} may not import {refused}"


def test_a_row_names_only_rows_above_it():
    rows = list(MAY_IMPORT)
    for place, row in enumerate(rows):
        assert rows_allowed(row) <= set(rows[:place]), row
        assert (ROOT / row.replace(".", "/")).is_dir() or row in MODULES, f"{row} is no package or module any more"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: modules_imported(path) - {module} for module, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


@pytest.mark.parametrize("engine", ENGINES)
def test_only_these_modules_import_the_engine(engine):
    importing = {
        module for module, path in MODULES.items() if any(name.split(".")[0] == engine for name in imported(path))
    }
    assert importing, f"{engine} is imported nowhere: the test looks in the wrong place"
    allowed = {module for module in importing for name in ENGINES[engine] if f"{module}.".startswith(f"{name}.")}
    assert importing == allowed


@pytest.mark.parametrize(
    "code",
    [
        "import mlflow",
        "import mlflow.entities as entities",
        "from mlflow import MlflowClient",
        "def later():\n    from mlflow.entities import Metric",
        "import importlib\nclient = importlib.import_module('mlflow').MlflowClient()",
        "from importlib import import_module\nimport_module('mlflow.entities')",
    ],
)
def test_every_way_to_import_an_engine_is_seen(code, tmp_path):
    (tmp_path / "module.py").write_text(code)
    assert "mlflow" in {name.split(".")[0] for name in imported(tmp_path / "module.py")}


def test_no_module_is_long():
    lines = Counter({module: len(path.read_text().splitlines()) for module, path in MODULES.items()})
    assert {m: n for m, n in lines.items() if n > LONGEST and not m.startswith("experiments.bench.")} == {}


def test_everything_is_installed():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert sorted(setuptools["packages"]) == sorted(f"decomp.{package}" for package in PACKAGES)
    for layer in LAYERS:
        assert (ROOT / layer / "py.typed").is_file()
        for path in (path for path in (ROOT / layer).rglob("*.*") if path.suffix not in (".py", ".pyc")):
            patterns = setuptools["package-data"]["decomp." + ".".join(path.parent.relative_to(ROOT).parts)]
            assert any(path.match(pattern) for pattern in patterns), f"{path} is in no package-data"


def test_the_standard_librarys_platform_is_not_shadowed():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version())"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ".".join(map(str, sys.version_info[:3]))


def test_the_platform_loads_without_ray_and_mlflow():
    code = "import sys, decomp.platform.loop.loop; print([name for name in ('ray', 'mlflow') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
