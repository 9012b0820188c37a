"""How many runs fit into a cluster, by the resources of its nodes."""

from collections.abc import Sequence
from typing import Any

from decomp.actors.resources import Resources
from decomp.platform.errors import UserError


def room(nodes: Sequence[dict[str, Any]], resources: Resources) -> int:
    """How many runs fit into the nodes, which are as Ray describes them, at the same time."""
    return _bundles(nodes, resources) // resources.workers


def too_small(nodes: Sequence[dict[str, Any]], resources: Resources) -> UserError:
    """The error where not even one run fits."""
    return UserError(f"{shortage(nodes, resources)}; lower resources.workers, .cpus or .gpus, or use a larger cluster.")


def shortage(nodes: Sequence[dict[str, Any]], resources: Resources) -> str:
    """What one run needs and what the cluster has, as a sentence without its end."""
    totals = {name: sum(node["Resources"].get(name, 0.0) for node in nodes) for name in ("CPU", "GPU")}
    return (
        f"resources: one run needs {resources.workers} worker(s) of {resources.cpus:g} CPU and {resources.gpus:g} GPU "
        f"each, but the cluster has {totals['CPU']:g} CPU and {totals['GPU']:g} GPU on {len(nodes)} node(s), which "
        f"makes room for {_bundles(nodes, resources)}"
    )


def _bundles(nodes: Sequence[dict[str, Any]], resources: Resources) -> int:
    """How many workers fit into the nodes at the same time."""
    return sum(_bundles_on(node["Resources"], resources) for node in nodes)


def _bundles_on(has: dict[str, float], resources: Resources) -> int:
    """How many workers fit into one node; a worker's fraction of a GPU is of a single one."""
    by_cpu = _whole(has.get("CPU", 0.0), resources.cpus)
    if not resources.gpus:
        return by_cpu
    gpus = has.get("GPU", 0.0)
    return min(by_cpu, int(gpus) * _whole(1.0, resources.gpus) if resources.gpus < 1 else _whole(gpus, resources.gpus))


def _whole(total: float, part: float) -> int:
    """How often a part fits into a total, counted in ten-thousandths as Ray does."""
    return round(10_000 * total) // round(10_000 * part)
