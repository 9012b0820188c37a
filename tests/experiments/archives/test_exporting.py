import io
import json
import zipfile

import pyarrow.parquet as pq
import pytest
from helpers.toy_runs import run_locally

from decomp.experiments.archives.archive import Archive
from decomp.experiments.archives.exporting import export
from decomp.experiments.description import Description
from decomp.platform.errors import UserError
from decomp.platform.storage.runs import DamagedCycle
from decomp.platform.storage.seals import sha256


def test_an_archive_can_be_read_without_decomp(archive, computed):
    (run, *_) = computed.stores(computed.runs)
    with zipfile.ZipFile(archive.path) as zipped:
        manifest = json.loads(zipped.read("manifest.json"))
        for name, digest in manifest["files"].items():
            assert sha256(zipped.read(name)) == digest
        cycles = pq.read_table(io.BytesIO(zipped.read("cycles.parquet"))).to_pylist()
        classes = pq.read_table(io.BytesIO(zipped.read("class_cycles.parquet"))).to_pylist()
        assert pq.read_table(io.BytesIO(zipped.read("timings.parquet"))).num_rows == len(cycles)
        of_run = zipfile.ZipFile(io.BytesIO(zipped.read(f"runs/{run.spec.key}.zip")))
    with of_run:
        assert not [name for name in of_run.namelist() if name.endswith("/model")]
        regions = pq.read_table(io.BytesIO(of_run.read("cycle-0002/regions.parquet")))
        assert regions.equals(run.committed()[1].ledger.table)
    assert manifest["experiment"]["design"]["contrasts"] == [["decomp", "rand"]]
    assert len(cycles) == 2 * 2 * 3 + 2
    row = next(r for r in cycles if (r["sampler"], r["seed"], r["cycle"]) == ("rand", 0, 3))
    record = run.committed()[2].record
    assert (row["miou"], row["share"]) == (record.metrics["miou"], record.annotated.share)
    scores = {r["class"]: r["iou"] for r in classes if (r["sampler"], r["seed"], r["cycle"]) == ("rand", 0, 3)}
    assert scores == record.class_metrics["iou"]


def test_the_same_runs_make_the_same_bytes(archive, computed, tmp_path):
    again = export(Description.of(computed), computed.histories(), tmp_path / "again.zip")
    assert again.archive.sha256 == archive.sha256
    assert (again.runs, again.unfinished) == (6, 0)


def test_an_archive_is_replaced_but_no_other_file(archive, computed, tmp_path):
    before = archive.sha256
    assert export(Description.of(computed), computed.histories(), archive.path).archive.sha256 == before
    other = tmp_path / "notes.zip"
    other.write_text("mine")
    with pytest.raises(UserError, match=r"notes\.zip: is there already and no archive"):
        export(Description.of(computed), computed.histories(), other)
    assert other.read_text() == "mine"


def test_runs_that_are_not_finished_are_left_out(planned, tmp_path):
    plan = planned(tmp_path / "theirs", "seeds=3")
    with pytest.raises(UserError, match="no run is finished"):
        export(Description.of(plan), plan.histories(), tmp_path / "part.zip")
    run_locally(plan.experiment.root, *plan.references[:1], *plan.runs[:2])
    exported = export(Description.of(plan), plan.histories(), tmp_path / "part.zip")
    assert (exported.runs, exported.unfinished) == (3, 6)
    archive = Archive.open(tmp_path / "part.zip")
    assert len(list(archive.runs())) == 4
    there = [spec.label for spec in (*plan.references[:1], *plan.runs[:2])]
    everything = [spec.label for spec in (*plan.references, *plan.runs)]
    assert list(archive.manifest.unfinished) == [label for label in everything if label not in there]


def test_a_damaged_cycle_is_not_exported(computed, tmp_path):
    (computed.stores(computed.runs)[0].path / "cycle-0002" / "regions.parquet").write_bytes(b"other")
    with pytest.raises(DamagedCycle, match=r"regions\.parquet"):
        export(Description.of(computed), computed.histories(), tmp_path / "toy.zip")
    assert not list(tmp_path.glob("*.zip*"))


def test_a_draft_is_swept_away_where_the_archive_cannot_be_written(computed, tmp_path):
    (tmp_path / "toy.zip").mkdir()
    with pytest.raises((UserError, OSError)):
        export(Description.of(computed), computed.histories(), tmp_path / "toy.zip")
    assert not list(tmp_path.glob(".toy*"))
