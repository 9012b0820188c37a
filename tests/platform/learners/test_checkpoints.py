import pytest
import safetensors
import torch
from torch import nn

from decomp.platform.errors import UserError
from decomp.platform.learners.checkpoints import read_checkpoint, read_warm_start, write_checkpoint

CLASSES = ("a", "b")


class Twice(nn.Module):
    """A layer that is known by two names."""

    def __init__(self, width):
        super().__init__()
        self.first = self.second = nn.Linear(width, 2)


def build(description):
    return Twice(description["width"])


def written(file, **changes):
    network = Twice(3)
    description = {"format": "test-1", "classes": CLASSES, "width": 3, "sizes": (1, 2)} | changes
    write_checkpoint(file, network, description)
    return network


def read(file):
    return read_checkpoint(file, "test-1", "test", CLASSES, build)


def test_a_network_comes_back_with_its_weights_and_description(tmp_path):
    network = written(tmp_path / "a")
    again, description = read(tmp_path / "a")
    assert torch.equal(again.second.weight, network.first.weight)
    assert (description["width"], description["sizes"]) == (3, [1, 2])


def test_a_tensor_of_several_names_is_written_once(tmp_path):
    written(tmp_path / "a")
    with safetensors.safe_open(tmp_path / "a", framework="pt") as file:
        assert set(file.keys()) == {"first.weight", "first.bias"}


def test_reading_draws_no_random_numbers(tmp_path):
    written(tmp_path / "a")
    before = torch.random.get_rng_state()
    read(tmp_path / "a")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "test-2"}, "no checkpoint of the test"),
        ({"classes": ("a", "c")}, "trained for the classes a, c"),
        ({"width": 4}, "does not hold the network that it describes"),
        ({"width": "four"}, "does not hold the network that it describes"),
    ],
)
def test_checkpoints_that_do_not_fit_are_user_errors(tmp_path, changes, message):
    written(tmp_path / "a", **changes)
    with pytest.raises(UserError, match=message):
        read(tmp_path / "a")


def test_missing_and_superfluous_tensors_are_user_errors(tmp_path):
    for network in (nn.Linear(3, 2), nn.ModuleDict({"first": nn.Linear(3, 2), "third": nn.Linear(1, 1)})):
        write_checkpoint(tmp_path / "a", network, {"format": "test-1", "classes": CLASSES, "width": 3})
        with pytest.raises(UserError, match="is in only one of the two"):
            read(tmp_path / "a")


def test_a_warm_start_must_be_of_the_same_network(tmp_path):
    network = written(tmp_path / "a")

    def warm(expected):
        return read_warm_start(tmp_path / "a", "test-1", "test", CLASSES, build, expected)

    assert torch.equal(warm({"width": 3, "sizes": (1, 2)}).first.bias, network.first.bias)
    with pytest.raises(UserError, match=r"a is a test of sizes \[1, 2\], not of sizes \[1, 3\]; train from scratch"):
        warm({"sizes": (1, 3)})
