"""Checkpoints of torch networks: safetensors files that say what they hold, read without unpickling anything."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from decomp.platform.errors import UserError


def write_checkpoint(file: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write to exactly this path; the same content gives the same bytes.

    Args:
        file: where to.
        tensors: a network's state, on any device.
        description: what `read_checkpoint` checks, ``format`` and ``classes``, and what else is needed to make the
            network again; of the types that JSON has.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # A single key, because safetensors writes several in random order.
    metadata = {"decomp": json.dumps(description, sort_keys=True)}
    file.write_bytes(safetensors.torch.save(state, metadata=metadata))


def read_checkpoint(
    file: Path, format_: str, title: str, classes: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read what `write_checkpoint` wrote: description and tensors.

    Args:
        file: where from.
        format_: format that it must have.
        title: what the learner is called in messages.
        classes: classes that it must have been trained for.

    Raises:
        UserError: if the file cannot be read, is another learner's or was trained for other classes.
    """
    mend = f"give a file that the {title} wrote."
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            description = json.loads((opened.metadata() or {}).get("decomp", "{}"))
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"Cannot read the checkpoint {file}: {error}; {mend}") from error
    if description.get("format") != format_:
        raise UserError(f"{file} is no checkpoint of the {title} ({format_}); {mend}")
    if tuple(description["classes"]) != classes:
        raise UserError(
            f"{file} was trained for the classes {', '.join(description['classes'])}, but the data set has "
            f"{', '.join(classes)}; give a checkpoint of this data set."
        )
    return description, tensors
