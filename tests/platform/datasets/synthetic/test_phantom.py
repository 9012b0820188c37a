import gzip
import hashlib
import pickle
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from decomp.platform.components import build_dataset
from decomp.platform.datasets.kits import IMAGE, LABELS, Kits23
from decomp.platform.datasets.synthetic.abdomen import PADDINGS, draw_scan
from decomp.platform.datasets.synthetic.phantom import Phantom, write_phantom
from decomp.platform.errors import UserError
from decomp.platform.grid import Component

DIGEST = """
import hashlib, sys
from decomp.platform.datasets.synthetic.phantom import Phantom
phantom = Phantom(root=sys.argv[1], seed=3)
files = (phantom.image_file("case_00001"), phantom.label_file("case_00001"))
print(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest())
"""


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Phantom:
    return Phantom(root=str(tmp_path_factory.mktemp("phantom")), seed=3)


def bytes_of(phantom, case):
    return phantom.image_file(case).read_bytes() + phantom.label_file(case).read_bytes()


def test_cases_are_divided_into_two_folds(phantom):
    assert phantom.folds == 2
    train, test = phantom.ids("train", 0), phantom.ids("test", 0)
    assert (len(train), len(test)) == (8, 8)
    assert (phantom.ids("train", 1), phantom.ids("test", 1)) == (test, train)
    assert sorted((*train, *test)) == [f"case_{number:05d}" for number in range(16)]


def test_nothing_is_written_before_a_case_is_asked_for(tmp_path):
    phantom = Phantom(root=str(tmp_path / "new"))
    phantom.ids("train", 0)
    phantom.fingerprint()
    assert not (tmp_path / "new").exists()
    phantom.shape("case_00004")
    assert [path.parent.name for path in (tmp_path / "new").rglob(IMAGE)] == ["case_00004"]
    assert not list((tmp_path / "new").rglob(".case*"))


def test_written_case_is_the_drawn_scan(phantom):
    scan = draw_scan(3, "case_00002", phantom.size)
    assert np.array_equal(phantom.image("case_00002")[..., 0], scan.hu)
    assert np.array_equal(phantom.labels("case_00002"), scan.labels)
    assert phantom.shape("case_00002") == scan.hu.shape
    assert phantom.voxel("case_00002") == pytest.approx(scan.voxel)


def test_files_have_the_published_form(phantom):
    file = nibabel.load(phantom.image_file("case_00002"))
    z, y, x = phantom.voxel("case_00002")
    assert np.allclose(file.affine[:3, :3], [[0, 0, -x], [0, -y, 0], [-z, 0, 0]])
    assert file.shape == phantom.shape("case_00002")
    assert phantom.file_axes("case_00002") == (0, 1, 2)


def test_reader_of_the_published_data_reads_it(phantom, tmp_path):
    write_phantom(tmp_path, cases=3, seed=3)
    published = Kits23(str(tmp_path), folds=3)
    assert published.problems() == []
    for case in published.case_ids():
        assert np.array_equal(published.image(case), phantom.image(case))
        assert np.array_equal(published.labels(case), phantom.labels(case))


def test_volumes_look_like_abdominal_ct(phantom):
    shares, masses = [], []
    for case in phantom.case_ids():
        hu, labels = phantom.image(case)[..., 0], phantom.labels(case)
        assert hu[:, 0, 0].min() == hu[:, 0, 0].max()
        assert hu[0, 0, 0] in PADDINGS  # outside the round field of view
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
        body = phantom.body(case)
        assert 0.2 < body.mean() < 0.6
        assert body[labels > 0].mean() > 0.999
        kidney = hu[labels == 1].mean()
        for label, low, high in ((2, 50, 115), (3, -15, 45)):
            if (labels == label).sum() > 50:
                assert low < hu[labels == label].mean() < min(high, kidney - 30)
        # Other organs are as dense as kidneys.
        assert np.count_nonzero((labels == 0) & (abs(hu - kidney) < 20)) > np.count_nonzero(labels == 1) / 2
        shares.append(np.bincount(labels.ravel(), minlength=4) / labels.size)
        masses.append([(labels == 2).any(), (labels == 3).any()])
    background, kidney, tumour, cyst = np.mean(shares, axis=0)
    assert background > 0.98
    assert kidney > tumour > cyst > 0
    assert 0.6 < np.mean(masses, axis=0)[0] <= 1
    assert 0.2 < np.mean(masses, axis=0)[1] < 0.9


def test_scans_differ_in_field_of_view_and_slices(phantom):
    assert len({phantom.shape(case)[0] for case in phantom.case_ids()}) > 5
    assert len({phantom.voxel(case)[1] for case in phantom.case_ids()}) == 16
    assert all(phantom.shape(case)[1:] == (64, 64) for case in phantom.case_ids())


def test_finer_volume_shows_the_same_patient():
    coarse, fine = (draw_scan(1, "case_00000", size) for size in ((40, 60, 60), (80, 150, 150)))
    assert fine.hu.shape[1:] == (150, 150)
    for label in (1, 2):
        places = [np.argwhere(scan.labels == label) * scan.voxel for scan in (coarse, fine)]
        volumes = [len(place) * np.prod(scan.voxel) for place, scan in zip(places, (coarse, fine), strict=True)]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.1)
        assert places[0].mean(axis=0) == pytest.approx(places[1].mean(axis=0), abs=max(coarse.voxel))


def test_another_process_writes_the_same_bytes(phantom, tmp_path):
    answer = subprocess.run(
        [sys.executable, "-c", DIGEST, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert answer == hashlib.sha256(bytes_of(phantom, "case_00001")).hexdigest()


def test_processes_that_start_at_once_do_not_disturb_each_other(phantom, tmp_path):
    code = "import sys; from decomp.platform.datasets.synthetic.phantom import Phantom\n"
    code += "phantom = Phantom(root=sys.argv[1], seed=3, cases=4)\nsys.stdin.readline()\n"
    code += "assert not phantom.problems(); print(phantom.image('case_00000').sum())"
    command = [sys.executable, "-c", code, str(tmp_path)]
    workers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for worker in workers:  # all have imported when the first may start
        worker.stdin.write("\n")
        worker.stdin.flush()
    assert len({worker.communicate()[0] for worker in workers}) == 1
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == [f"case_{number:05d}" for number in range(4)]
    other = Phantom(root=str(tmp_path), seed=3, cases=4)
    assert bytes_of(other, "case_00002") == bytes_of(phantom, "case_00002")


def test_loser_of_a_race_discards_its_case(phantom, tmp_path, monkeypatch):
    from decomp.platform.datasets.synthetic import phantom as module

    def slow(seed, case, size):
        (tmp_path / case).mkdir()  # somebody else was faster
        (tmp_path / case / IMAGE).write_bytes(b"theirs")
        return draw_scan(seed, case, size)

    monkeypatch.setattr(module, "draw_scan", slow)
    write_phantom(tmp_path, cases=1)
    assert [path.name for path in tmp_path.iterdir()] == ["case_00000"]
    assert (tmp_path / "case_00000" / IMAGE).read_bytes() == b"theirs"


def test_interrupted_writing_leaves_no_case(tmp_path, monkeypatch):
    from decomp.platform.datasets.synthetic import phantom as module

    def interrupted(voxels, voxel):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_encoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_phantom(tmp_path, cases=1)
    assert list(tmp_path.iterdir()) == []


def test_case_depends_on_seed_size_and_id_only(phantom, tmp_path):
    more = Phantom(root=str(tmp_path), seed=3, cases=40, folds=5)
    assert bytes_of(more, "case_00001") == bytes_of(phantom, "case_00001")
    other = Phantom(root=str(tmp_path), seed=4)
    assert bytes_of(other, "case_00001") != bytes_of(phantom, "case_00001")
    assert bytes_of(phantom, "case_00001") != bytes_of(phantom, "case_00002")
    finer = Phantom(root=str(tmp_path), seed=3, size=(20, 70, 60))
    assert finer.shape("case_00001")[1:] == (70, 60)


def test_fingerprint_follows_options_but_not_the_place(tmp_path):
    fingerprints = [
        Phantom(**options).fingerprint()
        for options in ({}, {"seed": 1}, {"cases": 6}, {"folds": 3}, {"size": (48, 64, 60)})
    ]
    assert len(set(fingerprints)) == 5
    assert Phantom(root=str(tmp_path)).fingerprint() == fingerprints[0]
    assert Phantom(size=[48, 64, 64]).fingerprint() == fingerprints[0]


def test_default_place_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert Phantom().image_file("case_00000").is_relative_to(tmp_path / "cache" / "decomp")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Phantom().image_file("case_00000").is_relative_to(tmp_path / "home" / ".cache" / "decomp")


def test_damaged_case_is_told_with_the_mend(tmp_path):
    phantom = Phantom(root=str(tmp_path), cases=3)
    file = phantom.label_file("case_00001")
    file.write_bytes(file.read_bytes()[:-9])
    (problem,) = phantom.problems()
    assert problem == f"dataset: case_00001: {file} is truncated; delete the folder of the case, it is made anew."
    for name in (IMAGE, LABELS):
        (file.parent / name).unlink()
    file.parent.rmdir()
    assert phantom.problems() == []


def test_files_hold_no_time_of_writing(phantom):
    assert phantom.image_file("case_00000").read_bytes()[4:8] == bytes(4)
    assert gzip.decompress(phantom.image_file("case_00000").read_bytes())


def test_an_experiment_file_can_name_it(tmp_path):
    options = {"cases": 8, "seed": 2, "size": [32, 48, 48], "folds": 4, "root": str(tmp_path)}
    phantom = build_dataset(Component("phantom", options))
    assert phantom == Phantom(8, 2, (32, 48, 48), 4, str(tmp_path))
    assert len(pickle.dumps(phantom)) < 400
    assert pickle.loads(pickle.dumps(phantom)).nested == phantom.nested


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cases": 1}, r"dataset\.cases: .*greater than or equal to 2, got 1"),
        ({"folds": 17}, r"dataset\.folds: give a number from 2 to 16, the number of cases, not 17"),
        ({"size": (48, 64, 8)}, r"dataset\.size.*: .*greater than or equal to 16"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(UserError, match=message):
        build_dataset(Component("phantom", options))


def test_place_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"dataset\.root: .* cannot be written .*; give another folder"):
        Phantom(root=str(tmp_path / "file")).image("case_00000")


def test_unknown_case_is_an_error_and_not_made(tmp_path):
    with pytest.raises(KeyError, match="There is no case 'case_00016'"):
        Phantom(root=str(tmp_path)).image("case_00016")
    assert list(tmp_path.iterdir()) == []
