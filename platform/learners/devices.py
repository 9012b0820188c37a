"""Moving arrays to a device, and the precision of its arithmetic."""

import numpy as np
import numpy.typing as npt
import torch


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> torch.Tensor:
    """A tensor of the array's values."""
    tensor = torch.from_numpy(array)
    # Only a copy from pinned memory is asynchronous.
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Autocast to `precision` on CUDA; elsewhere the tensors keep their own type."""
    return torch.autocast(device.type, precision, enabled=device.type == "cuda" and precision != torch.float32)
