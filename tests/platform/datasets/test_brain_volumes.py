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
from decomp.platform.datasets.brain import Brain
from decomp.platform.datasets.brain_volumes import LOBES, BrainVolumes
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.nnunet import NnUNet


@pytest.fixture
def root(tmp_path):
    write_head(tmp_path)
    return tmp_path


def test_blocks_of_the_left_half_are_the_pool_and_the_right_half_is_the_test_volume(root):
    brain = BrainVolumes(str(root), depth=2)
    assert brain.ids("train", 0) == ("left-002", "left-004", "left-006")
    assert brain.ids("test", 0) == ("right",)
    assert brain.ids("validation", 0) == ()
    shapes = [brain.shape(image) for image in (*brain.ids("train", 0), "right")]
    assert shapes == [(2, Y, MIDDLE), (2, Y, MIDDLE), (1, Y, MIDDLE), (5, Y, MIDDLE)]
    with pytest.raises(KeyError, match="no volume 'left-003'; ids look like left-012"):
        brain.labels("left-003")


def test_a_volume_is_the_stack_of_its_half_slices(root):
    brain, slices = BrainVolumes(str(root), depth=2), Brain(str(root))
    for image, names in (("left-004", slices.ids("train", 0)[2:4]), ("right", slices.ids("test", 0))):
        assert np.array_equal(brain.image(image), np.stack([slices.image(name) for name in names]))
        assert np.array_equal(brain.body(image), np.stack([slices.body(name) for name in names]))
    assert brain.image("right").dtype == np.float32
    assert brain.voxel("right") == (1.0, 1.0, 1.0)


def test_both_halves_lie_alike_front_above_and_middle_to_the_right(root):
    brain = BrainVolumes(str(root), depth=5)
    labels = brain.labels("left-002")
    assert np.array_equal(labels, brain.labels("right"))  # this head is symmetric
    z, y, x = np.nonzero(labels == brain.classes.index("subcortical"))  # its amygdala
    assert (z.min(), z.max(), y.min(), y.max(), x.min(), x.max()) == (1, 3, 10, 14, 5, 7)


def test_structures_of_a_lobe_are_one_class_and_the_vermis_is_none(root):
    brain, slices = BrainVolumes(str(root)), Brain(str(root))
    assert sorted(part for parts in LOBES.values() for part in parts) == sorted(slices.classes)
    assert len(brain.classes) == 9
    of_slices = np.stack([slices.labels(name) for name in slices.ids("train", 0)])
    labels = brain.labels("left-002")
    for lobe, parts in enumerate(LOBES.values()):
        assert np.array_equal(labels == lobe, np.isin(of_slices, [slices.classes.index(part) for part in parts]))
    assert np.array_equal(labels == IGNORE, of_slices == IGNORE)
    assert (labels == IGNORE).any()


def test_the_contract_is_kept(root, tmp_path_factory):
    brain = BrainVolumes(str(root), depth=2)
    testing.check_dataset(brain)
    assert build_dataset(Component("brain-3d", {"root": str(root), "depth": 2})) == brain
    brain.labels("right")
    assert len(pickle.dumps(brain)) < 300
    moved = BrainVolumes(str(shutil.copytree(root, tmp_path_factory.mktemp("moved") / "templates")), depth=2)
    assert moved.fingerprint() == brain.fingerprint() != BrainVolumes(str(root), depth=3).fingerprint()
    save(root / "aal.nii.gz", head()[1] * (head()[1] != 110))
    assert BrainVolumes(str(root), depth=2).fingerprint() != moved.fingerprint()


def test_missing_and_damaged_files_are_told_as_for_the_slices(root, tmp_path_factory):
    with pytest.raises(UserError, match=r"no /.*/ch2\.nii\.gz and no .*aal\.nii\.gz; apt-get install mricron-data, on"):
        BrainVolumes(str(tmp_path_factory.mktemp("empty")))
    assert BrainVolumes(str(root)).problems() == []
    (root / "aal.nii.gz").write_bytes((root / "aal.nii.gz").read_bytes()[:-9])
    (problem,) = BrainVolumes(str(root)).problems()
    assert "aal.nii.gz is truncated" in problem


def test_nnunet_scores_every_class_but_the_background_and_standardises_the_volume(root, tmp_path):
    prepared = NnUNet(configuration="3d_fullres", spacing=(1, 2, 2), cache=str(tmp_path / "cache")).prepare(
        BrainVolumes(str(root))
    )
    assert prepared.problems() == []
    assert prepared.shape("right") == (5, Y // 2, MIDDLE // 2)
    assert tuple(prepared.scored) == BrainVolumes.classes[1:]
    intensities = prepared.image("right")
    assert abs(intensities.mean()) < 0.1
    assert abs(intensities.std() - 1) < 0.1


def test_the_experiment_that_comes_along_runs_on_it(root, tmp_path):
    preset = Path(__file__).parents[3] / "experiments" / "brain-3d.yaml"
    grid = ["dataset.depth=2", "learner.spacing=[1, 2, 2]", "learner.patch=[2, 16, 8]", "learner.features=[4, 8]"]
    short = ["learner.iterations_per_epoch=1", "learner.min_epochs=1", "reference.min_epochs=1"]
    small = ["budgets=[{n_image: 1, n_region: 2, region: [1, 8 mm, 8 mm], cycles: 2}]", "seeds=1", "samplers=[rand]"]
    places = [f"dataset.root={root}", f"storage={tmp_path / 'runs'}", f"learner.cache={tmp_path / 'cache'}"]
    plan = make_plan(load_experiment(preset, [*grid, *short, *small, *places, "contrasts=null"]))
    assert plan.data_problems() == []
    run_locally(plan.experiment.root, *plan.references, *plan.runs)
    assert all(store.finished for store in plan.compared)
    (store,) = plan.stores(plan.runs)
    record = store.committed()[-1].record
    assert 0 <= record.metrics["dice"] <= 1
    assert record.annotated.pixels == 2 * 2 * 16
