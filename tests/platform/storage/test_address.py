import pytest

from decomp.platform.errors import UserError
from decomp.platform.storage.address import parse_location
from decomp.platform.storage.buckets import Bucket
from decomp.platform.storage.objects import ObjectPath


def test_a_user_names_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parse_location("runs") == tmp_path / "runs"
    assert parse_location("runs").local == tmp_path / "runs"


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_user_names_a_bucket(scheme):
    assert parse_location(f"{scheme}://bucket/a/b/") == ObjectPath(Bucket(f"{scheme}://bucket"), "a/b")
    assert str(parse_location(f"{scheme}://bucket") / "name") == f"{scheme}://bucket/name"
    assert parse_location(f"{scheme}://bucket").local is None


@pytest.mark.parametrize("storage", ["ftp://host/a", "s3://", "s3://Upper/a", "memory:///a", "s3:/bucket/a", "gs:a"])
def test_another_address_is_refused_with_those_that_are_known(storage):
    with pytest.raises(UserError, match=r"give a folder that all nodes see, or s3://bucket/prefix"):
        parse_location(storage)
