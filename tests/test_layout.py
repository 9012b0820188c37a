import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {"platform": 0, "actors": 1, "experiments": 2}
ENGINES = {"ray": 1, "mlflow": 2}
"""The lowest layer that may import each."""

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    layer = LAYERS[path.relative_to(ROOT).parts[0]]
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "decomp" and len(parts) > 1:
            assert LAYERS[parts[1]] <= layer, f"{path} imports {name}"
        assert ENGINES.get(parts[0], 0) <= layer, f"{path} imports {name}"


def test_every_package_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {path.parent.relative_to(ROOT) for path in MODULES}
    assert sorted(listed) == sorted("decomp." + ".".join(folder.parts) for folder in folders)


def test_the_standard_librarys_platform_is_not_shadowed():
    assert not (ROOT / "platform" / "__init__.py").exists()
    code = "import platform; print(platform.python_version())"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == ".".join(map(str, sys.version_info[:3]))


def test_the_platform_loads_without_ray_and_mlflow():
    code = "import sys, decomp.platform.loop.loop; print([name for name in ('ray', 'mlflow') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
