import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.head import MIDDLE, Y, head, save, write_head
from helpers.toy_runs import run_locally

from decomp.experiments.plan import make_plan
from decomp.experiments.schema import load_experiment
from decomp.platform import testing
from decomp.platform.components import build_dataset
from decomp.platform.datasets import IGNORE
from decomp.platform.datasets.brain import CODES, VERMIS, Brain
from decomp.platform.errors import UserError
from decomp.platform.grid import Component


@pytest.fixture
def root(tmp_path):
    write_head(tmp_path)
    return tmp_path


def problem_of(root) -> str:
    (problem,) = Brain(str(root)).problems()
    return problem


def test_the_left_half_is_the_pool_and_the_right_one_the_test_split(root):
    brain = Brain(str(root))
    assert brain.ids("train", 0) == tuple(f"left-{z:03d}" for z in range(2, 7))
    assert brain.ids("test", 0) == tuple(f"right-{z:03d}" for z in range(2, 7))
    assert brain.ids("validation", 0) == ()
    assert brain.shape("left-002") == (Y, MIDDLE)


def test_halves_lie_alike_front_above_and_middle_to_the_right(root):
    brain = Brain(str(root))
    intensities, _ = head()
    assert np.array_equal(brain.image("left-004")[..., 0], intensities[:MIDDLE, ::-1, 4].T)
    assert np.array_equal(brain.image("right-004")[..., 0], intensities[:MIDDLE:-1, ::-1, 4].T)
    labels = [brain.labels("left-004"), brain.labels("right-004")]
    assert np.array_equal(*labels)  # this head is symmetric
    rows, columns = np.nonzero(labels[0] == brain.classes.index("amygdala"))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 14, 5, 7)


def test_codes_become_classes_and_the_vermis_none(root):
    brain = Brain(str(root))
    assert len(brain.classes) == 15
    present = set(np.unique(brain.labels("left-004")).tolist())
    names = ("background", "frontal", "amygdala", "occipital")
    assert present == {*map(brain.classes.index, names), IGNORE}
    assert sorted(code for codes in (*CODES.values(), VERMIS) for code in codes) == list(range(117))


def test_regions_at_random_stay_in_the_head(root):
    brain = Brain(str(root))
    body = brain.body("left-004")
    assert np.array_equal(body, brain.image("left-004")[..., 0] > 50)


def test_the_contract_is_kept(root, tmp_path_factory):
    brain = Brain(str(root))
    testing.check_dataset(brain)
    assert build_dataset(Component("brain", {"root": str(root)})) == brain
    brain.labels("left-004")
    assert len(pickle.dumps(brain)) < 300
    moved = Brain(str(shutil.copytree(root, tmp_path_factory.mktemp("moved") / "templates")))
    assert moved.fingerprint() == brain.fingerprint()
    save(root / "aal.nii.gz", head()[1] * (head()[1] != 110))
    assert Brain(str(root)).fingerprint() != moved.fingerprint()


def test_without_the_package_one_sentence_says_how_to_install_it(tmp_path):
    with pytest.raises(UserError, match=r"no /.*/ch2\.nii\.gz and no .*aal\.nii\.gz; apt-get install mricron-data, on"):
        Brain(str(tmp_path))


def test_damage_is_told_with_the_file(root):
    intensities, codes = head()
    (root / "aal.nii.gz").write_bytes((root / "aal.nii.gz").read_bytes()[:-9])
    assert "aal.nii.gz is truncated" in problem_of(root)
    save(root / "aal.nii.gz", codes + np.uint8(150))
    assert "aal.nii.gz holds 150, 151, 153" in problem_of(root)
    save(root / "aal.nii.gz", codes, middle=3)
    assert "do not cover the same voxels" in problem_of(root)
    save(root / "aal.nii.gz", codes * 0)
    assert "shows no class in both halves" in problem_of(root)
    save(root / "aal.nii.gz", codes)
    save(root / "ch2.nii.gz", intensities.astype(np.int16))
    assert "ch2.nii.gz is not the package's" in problem_of(root)


def test_the_experiment_that_comes_along_runs_on_it(root, tmp_path):
    preset = Path(__file__).parents[3] / "experiments" / "brain.yaml"
    budget = "budgets=[{n_image: 2, n_region: 2, region: [8, 8], cycles: 2}]"
    small = ["learner.iterations=3", "reference.iterations=3", "seeds=1", "samplers=[rand, decomp]"]
    experiment = load_experiment(preset, [f"dataset.root={root}", f"storage={tmp_path / 'runs'}", budget, *small])
    plan = make_plan(experiment)
    assert plan.dataset.problems() == []
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    assert all(store.finished for store in plan.compared)
    for store in plan.stores(plan.runs):
        regions = store.ledger(store.committed()).annotations()
        assert {row.region.image[:5] for row in regions} == {"left-"}
