"""Trainings of one model by several processes, each told in turn what to do; importable by spawned processes."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from decomp.platform.learners import Training, segmentation, unet
from decomp.platform.learners.base import Processes
from decomp.platform.learners.smp import Smp
from decomp.platform.learners.training.distributed import Group, PeerFailed, open_rendezvous
from decomp.platform.randomness import stream


class Exact(Smp):
    """A model that computes in float64, but for its logits."""

    def network(self, options, in_channels, n_classes):
        return super().network(options, in_channels, n_classes).double()


@contextmanager
def started(count):
    """A function that calls another one in each of so many processes: with `Processes`, then what it is given."""
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:

        def call(function, *arguments):
            store, address = open_rendezvous("127.0.0.1")
            futures = [pool.submit(function, Processes(rank, count, address), *arguments) for rank in range(count)]
            errors = [error for future in futures if (error := future.exception(timeout=120))]
            del store
            for error in sorted(
                errors, key=lambda error: isinstance(error, PeerFailed)
            ):  # the cause before what follows
                raise error
            return [future.result() for future in futures]

        yield call


def train(processes, learner, dataset, ledger, checkpoint, warm_start=None):
    """Train, and return of each iteration the sum of the class weights, the norm of the gradient and the loss."""
    seen, added = [], Group.sum
    before = segmentation.REPORT_EVERY, unet.REPORT_EVERY

    def add(self, values):
        total = added(self, values)
        if not total.ndim:
            seen.append(float(total))
        return total

    def measure(optimiser, *_):
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        seen.append(torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]).item())

    training = Training(ledger, stream(0, "training"), warm_start=warm_start, processes=processes)
    segmentation.REPORT_EVERY = unet.REPORT_EVERY = 1
    Group.sum = add
    hook = register_optimizer_step_pre_hook(measure)
    try:
        learner.fit(dataset, training, checkpoint)
    finally:
        hook.remove()
        Group.sum = added
        segmentation.REPORT_EVERY, unet.REPORT_EVERY = before
    return seen
