import io
import json
import zipfile

import pytest

from decomp.experiments.archives.archive import MANIFEST, Archive, file_of, is_archive, zipped
from decomp.platform.errors import UserError
from decomp.platform.storage.seals import seal, sha256


def rewritten(path, changed=None, dropped=(), added=None, manifest=None):
    """A copy of an archive with other contents."""
    copy = path.with_name("copy.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        contents = {name: old.read(name) for name in old.namelist() if name not in dropped} | (changed or {})
        if manifest:
            fields = json.loads(contents[MANIFEST])
            del fields["of"], fields["sha256"]
            manifest(fields, contents)
            contents[MANIFEST] = seal((json.dumps(fields, indent=1) + "\n").encode(), "archive")
        for name, content in (contents | (added or {})).items():
            new.writestr(name, content)
    return copy


def a_run(archive):
    return next(name for name in archive.manifest.files if name.startswith("runs/"))


def repacked(content, change):
    """The zip of a run with other files: what `change` makes of them by their names."""
    with zipfile.ZipFile(io.BytesIO(content)) as run:
        files = {name: run.read(name) for name in run.namelist()}
    return zipped(change(files), zipfile.ZIP_STORED)


def with_a_run(archive, change):
    """A copy of an archive in which the content of a run is another one, with its digest."""

    def changed(fields, contents):
        name = a_run(archive)
        contents[name] = change(contents[name])
        fields["files"][name] = sha256(contents[name])

    return rewritten(archive.path, manifest=changed)


def refusal(path):
    with pytest.raises(UserError) as refused:
        list(Archive.open(path).runs())
    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_runs_come_in_the_order_in_which_they_were_planned(archive, computed):
    assert [run.spec.key for run in archive.runs() if run.spec.kind != "first"] == [
        spec.key for spec in (*computed.references, *computed.runs)
    ]


def test_all_runs_are_read_with_their_own_cycles(archive, computed):
    runs = {run.spec.key: run for run in archive.runs()}
    assert set(runs) == {spec.key for spec in computed.specs}
    for spec in computed.runs:
        assert (runs[spec.key].spec.label, runs[spec.key].spec.cycles, set(runs[spec.key].cycles)) == (
            spec.label,
            3,
            {2, 3},
        )
    assert [run.spec.kind for run in archive.runs()] == ["first"] * 2 + ["reference"] * 2 + ["run"] * 4


def test_a_file_that_is_not_what_was_exported_is_named(archive):
    name = a_run(archive)
    content = zipfile.ZipFile(archive.path).read(name)
    assert f"{name} is not what was exported" in refusal(rewritten(archive.path, {name: content.replace(b"0", b"1")}))


def test_missing_and_additional_files_are_named(archive):
    name = a_run(archive)
    assert f"{name!r} is missing" in refusal(rewritten(archive.path, dropped=[name]))
    odd = rewritten(archive.path, added={"../../evil": b"x"})
    assert "'../../evil' is not in its manifest" in refusal(odd)


@pytest.mark.parametrize("kept", [0.99, 0.5, 0.1])
def test_a_truncated_archive_is_none(archive, kept):
    content = archive.path.read_bytes()
    archive.path.write_bytes(content[: int(kept * len(content))])
    assert "is no archive, or not all of one" in refusal(archive.path)


def contents_of(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize("name", ["README.txt", "cycles.parquet", "class_cycles.parquet", "timings.parquet"])
def test_a_table_that_is_not_what_was_exported_is_named(archive, name):
    content = zipfile.ZipFile(archive.path).read(name)
    assert f"{name} is not what was exported" in refusal(rewritten(archive.path, {name: content + b" "}))


def test_every_flipped_byte_is_noticed_or_changes_nothing(archive):
    content = bytearray(archive.path.read_bytes())
    whole, contents = {run.spec.key: run for run in archive.runs()}, contents_of(archive.path)
    noticed = 0
    for place in range(7, len(content), len(content) // 60):
        flipped = bytearray(content)
        flipped[place] ^= 0x41
        archive.path.write_bytes(flipped)
        try:
            assert {run.spec.key: run for run in Archive.open(archive.path).runs()} == whole
            assert contents_of(archive.path) == contents
        except UserError:
            noticed += 1
    assert noticed > 20


def test_another_format_is_refused_with_the_version_that_wrote_it(archive):
    def older(fields, contents):
        fields["format"], fields["version"] = 3, "0.0.9"

    message = refusal(rewritten(archive.path, manifest=older))
    assert "results of format 3" in message
    assert "0.0.9" in message


@pytest.mark.parametrize("content", [b"", b"name: digits\n", b"PK\x03\x04 not quite"])
def test_other_files_are_no_archives(tmp_path, content):
    file = tmp_path / "x.zip"
    file.write_bytes(content)
    assert is_archive(file) == content.startswith(b"PK")
    refusal(file)


def test_other_zips_and_missing_files_are_no_archives(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a", "b")
    assert "is no archive of decomp" in refusal(tmp_path / "other.zip")
    assert "there is no such file" in refusal(tmp_path / "none.zip")
    assert not is_archive(tmp_path)


@pytest.mark.parametrize("key", ["../../escape", "a" * 12])
def test_a_run_of_another_key_is_refused_whatever_the_digests_say(archive, key):
    def renamed(fields, contents):
        old = next(iter(fields["runs"]))
        fields["runs"][key] = fields["runs"].pop(old)
        contents[file_of(key)] = contents.pop(file_of(old))
        fields["files"][file_of(key)] = fields["files"].pop(file_of(old))

    message = refusal(rewritten(archive.path, manifest=renamed))
    assert "is no key of a run" in message or "is no run of this version" in message


def test_an_identity_that_was_edited_is_refused_whatever_the_digests_say(archive):
    def reseeded(files):
        identity = files["run.json"].replace(b'"seed": 0', b'"seed": 9').replace(b'"seed": 1', b'"seed": 9')
        return files | {"run.json": identity}

    assert "is no run of this version" in refusal(with_a_run(archive, lambda content: repacked(content, reseeded)))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda content: b"PK no zip", "is no archive, or not all of one"),
        (lambda content: repacked(content, lambda files: {}), "is no run of this version"),
        (lambda content: repacked(content, lambda f: {n: c for n, c in f.items() if "timing" not in n}), "is missing"),
        (lambda content: repacked(content, lambda files: files | {"../evil": b"x"}), "belongs to no cycle of its run"),
    ],
)
def test_a_run_without_its_files_or_with_others_is_refused_whatever_the_digests_say(archive, change, fault):
    assert fault in refusal(with_a_run(archive, change))


def test_runs_need_their_shared_first_cycle(archive):
    def orphaned(fields, contents):
        for run in [run for run in archive.runs() if run.spec.kind == "first"]:
            del fields["runs"][run.spec.key]

    assert "the shared first cycle of" in refusal(rewritten(archive.path, manifest=orphaned))
