"""Treats a part of a global batch as if the rest, which other processes have, were there too.

Crops of a batch meet in two places only, whatever the network: batch norm mixes them, and random numbers are drawn for
all of them in one go. Both are caught where the network calls torch, so that its layers need not be replaced.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import distributed
from torch.nn import functional
from torch.nn.modules._functions import SyncBatchNorm
from torch.overrides import TorchFunctionMode


class GlobalBatch(TorchFunctionMode):
    """While it is entered, `batch_norm`, dropout and `bernoulli_` (stochastic depth) act as on the global batch.

    Batch norm normalises by the moments of the global batch and notes them in the running ones. Random masks, whose
    first axis is the batch, are drawn for the global batch, and this process's part is taken; so all processes must
    draw from equal generators. It is for the forward pass; see `as_before` where backward repeats parts of it.

    Args:
        n: crops of the global batch.
        part: those that this process has.
    """

    _entered: ClassVar["GlobalBatch | None"] = None

    def __init__(self, n: int, part: slice) -> None:
        super().__init__()
        self._n, self._part = n, part
        self._own = part.stop - part.start

    def __enter__(self) -> "GlobalBatch":
        GlobalBatch._entered = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *exception: Any) -> None:
        GlobalBatch._entered = None
        super().__exit__(*exception)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called in place of every function of torch."""
        handler = getattr(self, HANDLERS.get(func, ""), func)
        return handler(*args, **(kwargs or {}))

    def batch_norm(
        self,
        x: torch.Tensor,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        """`functional.batch_norm`."""
        if not training:
            return functional.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        if x.device.type == "cuda":  # torch's has kernels for CUDA only
            group = distributed.group.WORLD
            y: torch.Tensor = SyncBatchNorm.apply(
                x, weight, bias, running_mean, running_var, eps, momentum, group, distributed.get_world_size()
            )
            return y
        normalised: torch.Tensor
        normalised, mean, var, n = _Normalised.apply(x, eps)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * n / (n - 1)).to(running_var.dtype), momentum)
        shape = (1, -1, *[1] * (x.ndim - 2))
        if weight is not None:
            normalised = normalised * weight.view(shape)
        return normalised if bias is None else normalised + bias.view(shape)

    def dropout(self, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        """`functional.dropout`."""
        if self._draws(x, p, training):
            # In memory order, in which torch draws.
            return _times(x, self._mask(x.new_empty_strided((self._n, *x.shape[1:]), x.stride()), p), inplace)
        return functional.dropout(x, p, training, inplace)

    def dropout2d(self, x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        """`functional.dropout2d`."""
        if self._draws(x, p, training) and x.ndim == 4:
            return _times(x, self._mask(x.new_empty(self._n, x.shape[1], 1, 1), p), inplace)
        return functional.dropout2d(x, p, training, inplace)

    def bernoulli_(self, x: torch.Tensor, p: Any = 0.5, *, generator: torch.Generator | None = None) -> torch.Tensor:
        """`torch.Tensor.bernoulli_`."""
        if len(x) != self._own or generator is not None:
            return x.bernoulli_(p, generator=generator)
        return x.copy_(x.new_empty(self._n, *x.shape[1:]).bernoulli_(p)[self._part])

    def _draws(self, x: torch.Tensor, p: float, training: bool) -> bool:
        return training and 0 < p < 1 and len(x) == self._own

    def _mask(self, empty: torch.Tensor, p: float) -> torch.Tensor:
        return empty.bernoulli_(1 - p).div_(1 - p)[self._part]


HANDLERS: dict[Callable[..., Any], str] = {
    functional.batch_norm: "batch_norm",
    functional.dropout: "dropout",
    functional.dropout2d: "dropout2d",
    torch.Tensor.bernoulli_: "bernoulli_",
}


def as_before() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
    """`context_fn` of `torch.utils.checkpoint.checkpoint`: what holds now will hold again when backward recomputes."""
    return nullcontext(), GlobalBatch._entered or nullcontext()


class _Normalised(torch.autograd.Function):
    """x less its mean, over its standard deviation, per channel over the global batch of all processes.

    Ioffe and Szegedy, "Batch Normalization", ICML 2015. Also gives the mean, the biased variance, both of shape (C,)
    and float64, and the number of values of a channel. Sums travel in float64, in which E[x^2] - E[x]^2 is harmless.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        axes = _all_but_channels(x)
        exact = x.double()
        n_own = x.numel() // x.shape[1]
        sums = torch.cat([exact.sum(axes), exact.square().sum(axes), exact.new_tensor([n_own])])
        distributed.all_reduce(sums)
        n = sums[-1]
        mean, square = (sums[:-1] / n).chunk(2)
        var = (square - mean.square()).clamp_(min=0)
        shape = (1, -1, *[1] * (x.ndim - 2))
        scale = (var + eps).rsqrt()
        normalised = ((exact - mean.view(shape)) * scale.view(shape)).to(x.dtype)
        ctx.save_for_backward(normalised, scale, n)
        ctx.mark_non_differentiable(mean, var, n)
        return normalised, mean, var, n

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor, *_: Any) -> tuple[torch.Tensor, None]:
        normalised, scale, n = ctx.saved_tensors
        axes = _all_but_channels(gradient)
        exact, y = gradient.double(), normalised.double()
        sums = torch.cat([exact.sum(axes), (exact * y).sum(axes)])
        distributed.all_reduce(sums)
        shape = (1, -1, *[1] * (gradient.ndim - 2))
        along_one, along_y = ((part / n).view(shape) for part in sums.chunk(2))
        return ((exact - along_one - y * along_y) * scale.view(shape)).to(gradient.dtype), None


def _times(x: torch.Tensor, mask: torch.Tensor, inplace: bool) -> torch.Tensor:
    return x.mul_(mask) if inplace else x * mask


def _all_but_channels(x: torch.Tensor) -> list[int]:
    return [axis for axis in range(x.ndim) if axis != 1]
