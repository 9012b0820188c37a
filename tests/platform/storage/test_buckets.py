import functools
import os
from datetime import UTC, datetime, timedelta

import pytest

from decomp.platform.errors import StorageError
from decomp.platform.storage import buckets
from decomp.platform.storage.buckets import Bucket


@pytest.fixture
def store(bucket):
    return bucket.bucket


@pytest.fixture
def fresh(monkeypatch):
    """Stores are opened anew: with the variables of the environment as the test sets them."""
    monkeypatch.setattr(buckets, "_store", functools.cache(buckets._store.__wrapped__))
    return monkeypatch


def test_an_object_is_created_once_and_replaced_while_it_is_the_known_version(store):
    assert store.create("a b/c", b"1")
    assert not store.create("a b/c", b"2")
    version = store.head("a b/c")
    assert store.replace("a b/c", version, b"3")
    assert not store.replace("a b/c", version, b"4")
    assert store.get("a b/c") == b"3"


def test_a_large_file_is_sent_in_parts_with_its_digest_where_other_tools_see_it(store, object_store, tmp_path):
    (tmp_path / "model").write_bytes(os.urandom(6 * 2**20))
    store.upload("model", tmp_path / "model")
    seen = object_store.head_object(Bucket=store.url.removeprefix("s3://"), Key="model")
    assert seen["Metadata"] == {"sha256": (tmp_path / "model").sha256()} == {"sha256": store.sha256("model")}
    assert seen["ETag"].endswith('-2"')
    store.download("model", tmp_path / "copy")
    assert (tmp_path / "copy").sha256() == store.sha256("model")


def test_keys_of_a_folder_are_not_those_of_its_neighbours(store):
    for key in ("a/1", "a/b/2", "ab/3", "a"):
        store.put(key, b"")
    assert sorted(store.keys("a")) == ["a/1", "a/b/2"]
    assert len(list(store.keys(""))) == 4


def test_the_store_tells_its_own_time(store, monkeypatch):
    class Slow(datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime(2000, 1, 1, tzinfo=zone)

    monkeypatch.setattr(buckets, "datetime", Slow)
    store.put("a", b"")
    assert abs(store.now() - store.head("a")["last_modified"]) < timedelta(hours=1)
    assert abs(store.now() - datetime.now(UTC)) < timedelta(hours=1)


@pytest.mark.parametrize(
    "request_",
    [
        lambda bucket: bucket.get("a"),
        lambda bucket: bucket.put("a", b""),
        lambda bucket: bucket.create("a", b""),
        lambda bucket: list(bucket.keys("a")),
    ],
)
def test_a_bucket_that_is_missing_is_named_with_the_mend(object_store, request_):
    with pytest.raises(StorageError, match=r"^s3://no-such-bucket/a: there is no such bucket; create it or name"):
        request_(Bucket("s3://no-such-bucket"))


@pytest.mark.parametrize(
    ("url", "code", "sentence"),
    [
        ("s3://bucket", "AccessDenied", "access denied; these credentials need to"),
        ("s3://bucket", "InvalidAccessKeyId", "the store does not know this access key"),
        ("s3://bucket", "SignatureDoesNotMatch", "the secret key does not fit"),
        ("s3://bucket", "TooManyBuckets", r"the store answers 403 Forbidden \(Why not\)\. Check credentials"),
        ("s3://bucket", None, "access denied; these credentials need to"),
    ],
)
def test_a_store_that_refuses_is_quoted_with_the_mend(fresh, answering, object_store, url, code, sentence):
    body = f"<Error><Code>{code}</Code><Message>Why not</Message></Error>" if code else ""
    fresh.setenv("AWS_ENDPOINT_URL", answering(403, body))
    with pytest.raises(StorageError, match=f"^{url}/a: {sentence}"):
        Bucket(url).get("a")


def test_a_bucket_in_another_region_is_told(fresh, answering, object_store):
    fresh.setenv("AWS_ENDPOINT_URL", answering(301, ""))
    with pytest.raises(StorageError, match=r"^s3://bucket/a: the bucket is in another region; set AWS_DEFAULT_REGION"):
        Bucket("s3://bucket").get("a")


def test_a_store_that_does_not_answer_is_told_with_its_address(fresh, object_store):
    fresh.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    fresh.setattr(buckets, "RETRIES", 1)
    with pytest.raises(StorageError, match=r"the store does not answer \(PUT http://127.0.0.1:9/bucket/a\)\. Check"):
        Bucket("s3://bucket").put("a", b"")


def test_missing_credentials_are_told(fresh, object_store, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        fresh.delenv(name)
    fresh.setenv("AWS_EC2_METADATA_DISABLED", "true")
    fresh.setenv("HOME", str(tmp_path))
    with pytest.raises(StorageError, match=r"^s3://bucket: no credentials are found; set AWS_PROFILE or"):
        Bucket("s3://bucket").get("a")


def test_a_profile_of_aws_gives_credentials_and_endpoint(fresh, object_store, tmp_path):
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        fresh.delenv(name)
    (tmp_path / "config").write_text(
        f"[profile work]\naws_access_key_id=a\naws_secret_access_key=b\nregion=eu-north-1\nendpoint_url={endpoint}\n"
    )
    fresh.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    fresh.setenv("AWS_PROFILE", "work")
    object_store.create_bucket(Bucket="of-a-profile")
    Bucket("s3://of-a-profile").put("a", b"1")
    assert Bucket("s3://of-a-profile").get("a") == b"1"


def test_google_cloud_storage_and_azure_are_opened(fresh):
    fresh.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    assert type(buckets._store("gs://bucket")).__name__ == "GCSStore"
    assert type(buckets._store("az://container")).__name__ == "AzureStore"


def test_an_azure_account_that_is_not_set_is_told(fresh):
    fresh.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
    with pytest.raises(StorageError, match=r"^az://container: .*Account must be specified.*environment"):
        Bucket("az://container").get("a")
