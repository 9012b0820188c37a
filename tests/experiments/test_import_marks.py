import pytest

from decomp.experiments.import_marks import IMPORTS, Import, add_imports, read_imports
from decomp.platform.errors import UserError

ONE = Import("a.zip", "a" * 64, 17)
OTHER = Import("b.zip", "b" * 64, 18, {"miou": 0.5})


def test_nothing_imported_is_no_file(root):
    assert read_imports(root) == {}


def test_imports_are_added_to_those_before(root):
    root.prepare()
    add_imports(root, {"k1": ONE})
    add_imports(root, {"k2": OTHER})
    assert read_imports(root) == {"k1": ONE, "k2": OTHER}
    add_imports(root, {"k1": OTHER})
    assert read_imports(root)["k1"] == OTHER


@pytest.mark.parametrize("content", [b"", b"[]", b'{"k": {}}', b"\xff"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, content):
    (tmp_path / IMPORTS).write_bytes(content)
    with pytest.raises(UserError, match=r"imports\.json is damaged; import the archives again, or delete it"):
        read_imports(tmp_path)
