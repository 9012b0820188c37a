import sys

import pytest

from decomp.platform.source import code_of

MODULE = '''
"""Own parts."""
import numpy as np
from lab import tools

SCALE = 2

def helper(x):
    return SCALE * x

class Base:
    def fit(self): return helper(1)

class Model(Base):
    """A model."""
    rate: "Rate" = 1

class Rate: pass

class Sampler:
    def scores(self): return np.ones(3)

if __name__ == "__main__":
    print(Model())
'''
TOOLS = '"""Tools."""\nfrom lab.deep import DEPTH\n'


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """The digest of a class of `own`, after changes of its files."""
    files = {"own.py": MODULE, "lab/__init__.py": "", "lab/tools.py": TOOLS, "lab/deep.py": "DEPTH = 1\n"}

    def digest(name="Model", file="own.py", old="", new="", module="own"):
        for path, content in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(content)
        assert old in files[file]
        (tmp_path / file).write_text(files[file].replace(old, new) if old else files[file] + new)
        return code_of(module, name)

    monkeypatch.syspath_prepend(str(tmp_path))
    yield digest
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own", "lab")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rate: ", "speed: "),
        ("return helper(1)", "return helper(2)"),
        ("SCALE = 2", "SCALE = 3"),
        ("return SCALE * x", "return x"),
        ("class Rate: pass", "class Rate: unit = 1"),
        ("", "\nModel.rate = 3"),
        ("", "\nprint(1)"),
        ("", "\nfrom lab.deep import *"),
        ("", "\ndef helper(x): return 0"),
    ],
)
def test_what_a_class_refers_to_is_a_part_of_its_code(lab, old, new):
    assert lab(old=old, new=new) != lab()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class Rate: pass", "class Rate:\n    # nothing\n\n    pass"),
        ('"""A model."""', '"""Another model."""'),
        ('"""Own parts."""', ""),
        ("np.ones(3)", "np.ones(4)"),
        ("print(Model())", "print(Base())"),
        ("", "\ndef other(): return Model()"),
        ("", "\nother = Model()"),
        ("from lab import tools", "from lab import tools, nothing"),
    ],
)
def test_all_else_is_not(lab, old, new):
    assert lab(old=old, new=new) == lab()


@pytest.mark.parametrize("file", ["lab/__init__.py", "lab/tools.py", "lab/deep.py"])
def test_own_modules_that_are_imported_count_as_a_whole(lab, file):
    uses = {"old": "return helper(1)", "new": "return tools.helper(1)"}
    alone, used = lab(), lab(**uses)
    assert used != alone
    files_after = lab("Model", file, new="\nEXTRA = 1\n")
    assert files_after == alone  # Model itself uses nothing of `tools`

    assert lab("tools", file, new="\nEXTRA = 1\n") != lab("tools")  # what binds `tools` is the import


def test_a_class_that_a_package_passes_on_is_found_where_it_is_defined(lab):
    before = lab("DEPTH", module="lab.tools")
    assert lab("DEPTH", "lab/deep.py", "1", "2", module="lab.tools") != before
    assert lab("DEPTH", "own.py", "SCALE = 2", "SCALE = 3", module="lab.tools") == before


def test_a_class_made_by_a_call_or_of_a_compiled_module_has_the_code_of_the_file(lab, tmp_path):
    assert lab("Unknown", old="np.ones(3)", new="np.ones(4)") != lab("Unknown")
    lab()
    (tmp_path / "own.py").write_bytes(b"\x7fELF\0one")
    one = code_of("own", "Model")
    (tmp_path / "own.py").write_bytes(b"\x7fELF\0two")
    assert code_of("own", "Model") != one


def test_installed_packages_are_no_own_code(lab):
    import numpy

    assert code_of("own", "np") == code_of("own", "np")
    assert numpy.__file__
