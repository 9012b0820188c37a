import torch

from decomp.platform.learners.reproducible import reproducible


def test_the_global_state_is_restored_and_a_seed_gives_the_same_numbers():
    torch.manual_seed(3)
    threads, expected = torch.get_num_threads(), torch.rand(4)
    torch.manual_seed(3)
    with reproducible(threads + 1, torch.device("cpu"), seed=5):
        assert torch.get_num_threads() == threads + 1
        first = torch.rand(2)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.rand(4), expected)
    with reproducible(1, torch.device("cpu"), seed=5):
        assert torch.equal(torch.rand(2), first)
