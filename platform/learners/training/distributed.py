"""Distributed training of one model, in which each process has a part of every batch: torch's DDP.

Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.

Training in n processes equals training in one but for the order of floating-point additions: all draw the same
batch and take their part of it, the loss is the mean over this global batch, batch norm and dropout see all of it
(`decomp.platform.learners.training.global_batch`), and every decision rests on numbers that all processes share.
"""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import distributed, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from decomp.platform.learners.base import Processes
from decomp.platform.learners.training.global_batch import GlobalBatch

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another, which may still be reading its images; a lost one is noticed earlier."""


class PeerFailed(RuntimeError):
    """Another process of the distributed training failed before this one; its error says why."""


@dataclass(frozen=True)
class Group:
    """The processes of a training as one of them sees them; `process_group` makes it. Alone, it does nothing.

    Attributes:
        processes: how many there are, and which of them this one is.
    """

    processes: Processes = field(default_factory=Processes)

    def part(self, n: int) -> slice:
        """Which of the n crops of a batch are this process's; parts differ by at most one crop."""
        rank, count = self.processes.rank, self.processes.count
        return slice(n * rank // count, n * (rank + 1) // count)

    def sum(self, values: npt.ArrayLike) -> npt.NDArray[Any]:
        """Sum of numbers of any shape over the processes, the same in all of them."""
        total = np.array(values)
        if self.processes.count > 1:
            # On the host, where nothing waits for a GPU's queue of work.
            distributed.all_reduce(torch.from_numpy(total))
        return total

    def parallel(self, network: nn.Module) -> nn.Module:
        """What to call instead of `network` in training: backward leaves the mean of all processes' gradients."""
        if self.processes.count == 1:
            return network
        # Every iteration is alike, so it is found out once which parameters get a gradient: in some models, not all.
        return DistributedDataParallel(network, static_graph=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of the global batch's loss, from this process's part of it; the sum of the parts is the loss."""
        # The processes' gradients are averaged, but the loss is the sum of their parts.
        (loss * self.processes.count).backward()  # type: ignore[no-untyped-call]

    def global_batch(self, n: int) -> AbstractContextManager[object]:
        """Within it a forward pass of `part(n)` gives what a pass of the global batch of n crops gives for it."""
        return nullcontext() if self.processes.count == 1 else GlobalBatch(n, self.part(n))


@contextmanager
def process_group(processes: Processes, device: torch.device) -> Iterator[Group]:
    """Meet the other processes, and part from them at the end, however it comes.

    Args:
        processes: those of the training; all of them must join.
        device: on which this process computes; on CUDA each process needs a GPU of its own.

    Raises:
        PeerFailed: in place of any error, if another process raised one before.
        RuntimeError: if another process is lost while this one waits for it.
    """
    if processes.count == 1:
        yield Group(processes)
        return
    host, _, port = processes.address.rpartition(":")
    # Numbers of the host travel by gloo in any case; it also tells at once when a process is lost.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    store = TCPStore(host, int(port), is_master=False, timeout=TIMEOUT)
    try:
        distributed.init_process_group(
            backend,
            store=store,
            rank=processes.rank,
            world_size=processes.count,
            timeout=TIMEOUT,
        )
        yield Group(processes)
    except Exception as error:
        if _failed_before(store):
            raise PeerFailed("Another process of the distributed training failed.") from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def open_rendezvous(host: str) -> tuple[TCPStore, str]:
    """Open the store at which the processes of one training meet, on a free port.

    Args:
        host: address of this machine, at which the other processes reach it.

    Returns:
        The store, to be kept as long as the training goes on, and the address for `Processes`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, 0))  # not on all interfaces, as the store would by itself
        port = listener.getsockname()[1]
        store = TCPStore(
            host, port, is_master=True, wait_for_workers=False, timeout=TIMEOUT, master_listen_fd=listener.detach()
        )
    return store, f"{host}:{port}"


def _failed_before(store: TCPStore) -> bool:
    """Note that this process fails; return whether another one has failed before."""
    try:
        failures: int = store.add("failed", 1)
    except RuntimeError:  # the store is lost with its process
        return False
    return failures > 1
