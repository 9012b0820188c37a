from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from helpers.toys import Blobs
from programs import joint_training
from programs.joint_training import Exact, train

from decomp.platform.components import build_learner
from decomp.platform.errors import UserError
from decomp.platform.grid import Component
from decomp.platform.learners.base import Processes
from decomp.platform.learners.training.distributed import Group, process_group
from decomp.platform.learners.unet import UNet
from decomp.platform.learners.upernet import UperNet
from decomp.platform.ledger import Annotation, Ledger
from decomp.platform.regions import Region

BLOBS = Blobs(height=40, width=48)
LEDGER = Ledger.of(Annotation(Region(f"train-00{k}", (4 * k, 5 * k), (16, 16)), 1, 0) for k in range(5))
OPTIONS = {
    "iterations": 6,
    "evaluate_every": 3,
    "batch": 3,  # of which one process has a crop more
    "crop": (32, 48),
    "warmup": 2,
    "workers": 1,
    "balanced": 0.5,
    "class_weight_power": 0.5,
}
# Dropout, stochastic depth, repeated forward passes, batch norm, weights that fall layer by layer.
UPERNET = UperNet(
    channels=16,
    depths=(1, 1, 2, 1),
    groups=(1, 2, 4, 8),
    decoder_channels=16,
    auxiliary_channels=8,
    drop_path=0.3,
    checkpointing=True,
    layer_decay=0.9,
    learning_rate=1e-3,
    **OPTIONS,
)
# Batch norm over the few pixels of its deepest maps magnifies rounding errors, so it computes in float64.
SMP = Exact(architecture="deeplabv3plus", encoder="tu-resnet10t", learning_rate=1e-3, **OPTIONS)
UNET = UNet(iterations=6, batch=5, crop=32, widths=(8, 12, 16))


@pytest.fixture(scope="module")
def pair():
    with joint_training.started(2) as call:
        yield call


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def differing(one, other):
    """Greatest difference of two checkpoints' tensors, relative to each one's greatest value."""
    one, other = safetensors.torch.load_file(one), safetensors.torch.load_file(other)
    assert one.keys() == other.keys()
    return max(
        ((one[name] - other[name]).abs().max() / one[name].abs().max().clamp(min=1e-3)).item()
        for name in one
        if one[name].is_floating_point()
    )


@pytest.mark.parametrize(("learner", "tolerance"), [(replace(UNET, dropout=0.2), 1e-4), (SMP, 1e-4), (UPERNET, 1e-3)])
def test_two_processes_learn_what_one_does(pair, tmp_path, learner, tolerance):
    alone = train(Processes(), learner, BLOBS, LEDGER, tmp_path / "alone")
    first, second = pair(train, learner, BLOBS, LEDGER, tmp_path / "distributed")
    assert first == second
    np.testing.assert_allclose(first, alone, rtol=tolerance)
    if learner is not UPERNET:  # in float32 AdamW makes steps of any sign of gradients that are almost 0
        assert differing(tmp_path / "alone", tmp_path / "distributed") < tolerance


def test_the_same_processes_give_the_same_bytes_and_warm_starts_go_on(pair, tmp_path):
    for name in ("a", "b"):
        pair(train, UPERNET, BLOBS, LEDGER, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    warm = replace(UNET, learning_rate=1e-3)
    train(Processes(), UNET, BLOBS, LEDGER, tmp_path / "start")
    alone = train(Processes(), warm, BLOBS, LEDGER, tmp_path / "alone", tmp_path / "start")
    first, _ = pair(train, warm, BLOBS, LEDGER, tmp_path / "distributed", tmp_path / "start")
    np.testing.assert_allclose(first, alone, rtol=1e-4)


def test_all_processes_stop_when_the_whole_validation_split_says_so(pair, tmp_path):
    """A learning rate of almost nothing brings no improvement after the first evaluation."""
    idle = replace(UPERNET, iterations=20, evaluate_every=1, patience=3, warmup=0, learning_rate=1e-12)
    alone = train(Processes(), idle, BLOBS, LEDGER, tmp_path / "alone")
    first, second = pair(train, idle, BLOBS, LEDGER, tmp_path / "distributed")
    assert first == second
    assert len(first) == len(alone) < 3 * 20


def test_all_processes_notice_a_divergence_and_are_fit_for_another_training(pair, tmp_path):
    with pytest.raises(RuntimeError, match="diverged by iteration"):
        pair(train, replace(UNET, learning_rate=1e30), BLOBS, LEDGER, tmp_path / "diverged")
    with pytest.raises(UserError, match="nothing to train on"):
        pair(train, UNET, BLOBS, Ledger.of([]), tmp_path / "nothing")
    pair(train, UNET, BLOBS, LEDGER, tmp_path / "again")
    assert (tmp_path / "again").exists()


def test_parts_of_a_batch_are_disjoint_and_complete():
    for n in (2, 3, 7, 16):
        for count in range(1, n + 1):
            parts = [range(n)[Group(Processes(rank, count)).part(n)] for rank in range(count)]
            assert [k for part in parts for k in part] == list(range(n))
            assert {len(part) for part in parts} <= {n // count, -(-n // count)}
            assert min(map(len, parts)) >= 1


def test_only_learners_of_batches_of_crops_are_distributed():
    assert (UNET.most_processes, SMP.most_processes, UPERNET.most_processes) == (5, 3, 3)
    assert [build_learner(Component(name)).most_processes for name in ("mlp", "nnunet", "hactnet")] == [1, 1, 1]


def sums(processes, values):
    with process_group(processes, torch.device("cpu")) as group:
        return group.sum(values[processes.rank])


@pytest.mark.parametrize("values", [(0.1, 2.5), (np.arange(6).reshape(2, 3), np.ones((2, 3), np.int64))])
def test_numbers_of_any_shape_are_summed_over_the_processes_in_their_own_type(pair, values):
    before = [np.copy(value) for value in values]
    for total in pair(sums, values):
        assert total.dtype == np.asarray(values[0]).dtype
        assert np.array_equal(total, np.add(*values))
    assert np.array_equal(Group().sum(values[0]), before[0])
