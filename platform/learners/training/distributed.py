"""Processes that train one model together, each on a part of every batch: data-parallel training with torch's DDP.

Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.

A training over n processes is that of one process but for the order of floating-point additions: all draw the same
batch and take their part of it, the loss is the mean over the whole batch, batch norm and dropout see the whole batch
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
"""How long a process waits for another, which may be reading its images still; a lost one is noticed earlier."""


class Deserted(RuntimeError):
    """Another process that trains together with this one failed before; its error says why."""


@dataclass(frozen=True)
class Group:
    """What a training needs of the processes that train together; `joined` makes it. Alone, it does nothing.

    Attributes:
        processes: who they are.
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
            # On the host, for which a GPU's queue of work need not be waited for.
            distributed.all_reduce(torch.from_numpy(total))
        return total

    def parallel(self, network: nn.Module) -> nn.Module:
        """The network, to be called in its place in training: backward leaves the mean of all processes' gradients."""
        if self.processes.count == 1:
            return network
        # Every iteration is alike, so which parameters get a gradient, not all of some models, is found out once.
        return DistributedDataParallel(network, static_graph=True)

    def backward(self, loss: torch.Tensor) -> None:
        """Gradients of the whole batch's loss, from this process's part of it; the sum of the parts is the loss."""
        # The processes' gradients are averaged, but the loss is the sum of their parts.
        (loss * self.processes.count).backward()  # type: ignore[no-untyped-call]

    def as_one(self, n: int) -> AbstractContextManager[object]:
        """Where a forward pass of `part(n)` gives what a pass of the whole batch gives for it."""
        return nullcontext() if self.processes.count == 1 else GlobalBatch(n, self.part(n))


@contextmanager
def joined(processes: Processes, device: torch.device) -> Iterator[Group]:
    """Meet the other processes, and part from them at the end, however it comes.

    Args:
        processes: who they are; all of them must join.
        device: on which this process computes; on CUDA each process needs a GPU of its own.

    Raises:
        Deserted: in place of any error, if another process raised one before.
        RuntimeError: where another process is waited for, if it is lost.
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
            raise Deserted("A process that trains together with this one failed.") from error
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def open_meeting(host: str) -> tuple[TCPStore, str]:
    """Open a meeting place for one training, on a free port.

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
    """Note that this process fails; whether another one has."""
    try:
        failures: int = store.add("failed", 1)
    except RuntimeError:  # the meeting place is lost with its process
        return False
    return failures > 1
