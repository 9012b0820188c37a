"""Checkpoints of torch networks: safetensors files that say what they hold, read without unpickling anything."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import nn

from decomp.platform.errors import UserError

Network = TypeVar("Network", bound=nn.Module)


def write_checkpoint(file: Path, network: nn.Module, description: Mapping[str, Any]) -> None:
    """Write a network to exactly this path; the same content gives the same bytes.

    Args:
        file: where to write it.
        network: on any device; a tensor that it knows by several names is written under the first.
        description: ``format`` and ``classes``, which `read_checkpoint` checks, and what else is needed to make the
            network again; all of JSON's types.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in _state(network).items()}
    # A single key, because safetensors writes several in random order.
    metadata = {"decomp": json.dumps(description, sort_keys=True)}
    file.write_bytes(safetensors.torch.save(state, metadata=metadata))


def read_checkpoint(
    file: Path,
    format_: str,
    title: str,
    classes: tuple[str, ...],
    build: Callable[[Mapping[str, Any]], Network],
) -> tuple[Network, dict[str, Any]]:
    """Read what `write_checkpoint` wrote.

    Args:
        file: where to read it from.
        format_: format that it must have.
        title: what the learner is called in messages.
        classes: classes that it must have been trained for.
        build: makes a network with any weights from a description.

    Returns:
        The network, on the CPU, and its description.

    Raises:
        UserError: if the file cannot be read, is another learner's, was trained for other classes, or does not hold the
            network that it describes.
    """
    mend = f"give a file that the {title} wrote."
    description, tensors = _read(file, mend)
    if description.get("format") != format_:
        raise UserError(f"{file} is no checkpoint of the {title} ({format_}); {mend}")
    if tuple(description["classes"]) != classes:
        raise UserError(
            f"{file} was trained for the classes {', '.join(description['classes'])}, but the data set has "
            f"{', '.join(classes)}; give a checkpoint of this data set."
        )
    try:
        with torch.random.fork_rng(devices=[]):  # the initial weights are drawn and thrown away
            network = build(description)
        _fill(network, tensors)
    except (KeyError, TypeError, RuntimeError) as error:
        raise UserError(f"{file} does not hold the network that it describes ({error}); {mend}") from error
    return network, description


def read_warm_start(
    file: Path,
    format_: str,
    title: str,
    classes: tuple[str, ...],
    build: Callable[[Mapping[str, Any]], Network],
    expected: Mapping[str, Any],
) -> Network:
    """Read a checkpoint from which training continues, as `read_checkpoint` does.

    Args:
        file: where to read it from.
        format_: as for `read_checkpoint`, like `title`, `classes` and `build`.
        title: see there.
        classes: see there.
        build: see there.
        expected: what the options and the data require of the network, by the names in the description.

    Raises:
        UserError: if the checkpoint cannot be read, or its network is not the expected one.
    """
    network, description = read_checkpoint(file, format_, title, classes, build)
    expected = json.loads(json.dumps(expected))  # tuples become lists, as in a description
    held = {name: description[name] for name in expected}
    if held != expected:
        raise UserError(
            f"The warm start {file} is a {title} of {_listed(held)}, not of {_listed(expected)}; train from scratch or "
            f"keep the options."
        )
    return network


def _read(file: Path, mend: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            description = json.loads((opened.metadata() or {}).get("decomp", "{}"))
            return description, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"Cannot read the checkpoint {file}: {error}; {mend}") from error


def _fill(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    if differing := _state(network).keys() ^ tensors.keys():
        raise RuntimeError(f"{min(differing)} is in only one of the two")
    network.load_state_dict(tensors, strict=False)  # the other names of its tensors are not in the file


def _state(network: nn.Module) -> dict[str, torch.Tensor]:
    """All weights, each once: nnU-Net's modules are known by several names."""
    state: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in network.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            state[name] = tensor
    return state


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
