"""Training and prediction with torch that give the same numbers every time."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def reproducible(threads: int, device: torch.device, seed: int | None = None, strict: bool = True) -> Iterator[None]:
    """Fix what results depend on besides the data, and restore it afterwards.

    The number of threads and the choice of kernels are fixed, and with a `seed` the random numbers of torch too.
    Kernels on CUDA that add in any order are avoided unless `strict` is off, as it is for networks with an operation
    that has no other kernel: they gain nothing from slower kernels elsewhere.
    """
    before = torch.get_num_threads(), torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else [], enabled=seed is not None):
        torch.set_num_threads(threads)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = strict, False
        if cuda:  # sums over the edges of a graph are atomic additions otherwise
            torch.use_deterministic_algorithms(strict, warn_only=True)
        if seed is not None:
            # Not torch.manual_seed: it would reseed every CUDA device.
            torch.default_generator.manual_seed(seed)
            if cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = before[1:]
            if cuda:
                torch.use_deterministic_algorithms(algorithms[0], warn_only=algorithms[1])
