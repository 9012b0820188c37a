"""A CUDA device that this process only pretends to have, so that tensors left on another device are found without one.

Tensors on it say that they are on CUDA; their values lie in memory and are computed there. As on a GPU, an operation
takes tensors of one device, but for single numbers and indices on the CPU, and NumPy reads none of them. It is
PyTorch's FakeTensorMode with values, which what follows from a prediction needs.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # which looks at all functions of torch, so before any of them is replaced
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map

from decomp.platform.learners.inference import decode, fold

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
aten = torch.ops.aten


@contextmanager
def pretended_cuda() -> Iterator[None]:
    """A context in which there is a CUDA device, without Triton and cuDNN, on which all gradients are 0."""
    forked, run = torch.random.fork_rng, threading.Thread.run

    def run_there(thread: threading.Thread) -> None:
        with _Pretending():
            run(thread)

    replaced: list[tuple[Any, str, Any]] = [
        (decode, "_kernel", lambda: None),
        (fold, "_kernel", lambda: None),
        (threading.Thread, "run", run_there),
        (torch.inference_mode, "__enter__", _enter_no_grad),  # in inference mode subclasses have no views
        (torch.inference_mode, "__exit__", _exit_no_grad),
        (torch.Tensor, "backward", _no_gradients),  # autograd has a thread for each device that there is
        (torch.cuda, "device", nullcontext),
        (torch.cuda, "manual_seed", lambda seed: None),
        (torch.cuda, "is_bf16_supported", lambda: True),
        (torch.cuda.amp.common, "amp_definitely_not_available", lambda: False),
        (torch.random, "fork_rng", lambda devices=(), enabled=True: forked([], enabled)),
    ]
    modules_take_subclasses = torch.__future__.get_overwrite_module_params_on_conversion()
    with ExitStack() as stack:
        for where, name, stand_in in replaced:
            stack.enter_context(mock.patch.object(where, name, stand_in))
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        if not torch.cuda.is_available():
            torch._C._ensureCUDADeviceGuardSet()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, modules_take_subclasses)
        torch._C._set_only_lift_cpu_tensors(True)
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)
        stack.enter_context(_Pretending())
        yield


class OnCuda(torch.Tensor):
    """A tensor that says it is on CUDA.

    Attributes:
        values: the same on the CPU.
    """

    values: torch.Tensor

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "OnCuda":
        made: OnCuda = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), values.stride(), values.storage_offset(), dtype=values.dtype, device=CUDA
        )
        made.values = values
        return made

    def __repr__(self, **_: Any) -> str:
        return f"{self.values!r} on CUDA"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


class _Pretending(TorchDispatchMode):
    """While it is entered, tensors can be made on CUDA and moved there."""

    _mode_key = torch._C._TorchDispatchModeKey.FAKE  # with which PyTorch does not look for a device

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


ANY_DEVICES = {aten._to_copy.default, aten.copy_.default}
"""Operations that move values from one device to another."""

INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
"""Operations whose indices may be on the CPU."""


def _computed(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives, on the device on which a GPU would have it; RuntimeError if there are several."""
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    here = [tensor for tensor in tensors if not isinstance(tensor, OnCuda)]
    on_cuda = len(here) < len(tensors)
    free = func in ANY_DEVICES or (func in INDEXED and isinstance(tensors[0], OnCuda))
    if on_cuda and any(tensor.ndim for tensor in here) and not free:
        raise RuntimeError(f"{func} takes tensors of one device, not {[str(tensor.device) for tensor in tensors]}.")
    if func is aten.is_pinned.default:
        return False
    if func is aten._pin_memory.default:
        return args[0]
    if kwargs.get("device") is not None:
        on_cuda = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": CPU}
    args_here, kwargs_here = tree_map(lambda leaf: leaf.values if isinstance(leaf, OnCuda) else leaf, (args, kwargs))
    with _disable_current_modes():
        result = OTHERWISE.get(func, func)(*args_here, **kwargs_here)
    if func is aten.copy_.default:
        return args[0]
    written = {id(tensor.values): tensor for tensor in tensors if isinstance(tensor, OnCuda)}

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor) or not on_cuda:
            return leaf
        return written[id(leaf)] if id(leaf) in written else OnCuda(leaf)

    return tree_map(placed, result)


def _lstm_cell(
    of_input: torch.Tensor, of_hidden: torch.Tensor, cell: torch.Tensor, *biases: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    gates = sum(biases, of_input + of_hidden)
    enter, keep, new, leave = gates.chunk(4, 1)
    cell = keep.sigmoid() * cell + enter.sigmoid() * new.tanh()
    return leave.sigmoid() * cell.tanh(), cell, gates


OTHERWISE = {aten._thnn_fused_lstm_cell.default: _lstm_cell}
"""Operations that only CUDA has."""


def _enter_no_grad(mode: Any) -> None:
    mode.instead = torch.no_grad()
    mode.instead.__enter__()


def _exit_no_grad(mode: Any, *exception: Any) -> None:
    mode.instead.__exit__(*exception)


def _no_gradients(loss: torch.Tensor) -> None:
    nodes, seen = [loss.grad_fn], {None}
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)
        nodes += [before for before, _ in node.next_functions]
