"""How many workers of which kind a cluster gets, by the CPUs and GPUs of its nodes.

No setting here changes a byte: which files take a GPU is `execution.placement`'s, where workers run is Ray's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_ON_A_GPU = 8
"""Workers that share a GPU where nobody says how many. Each is a process with a CUDA context and models of its own, which are
not shared. The smallest GPU of clusters has 16 GB, so that 2 GB are left for each: about half a GB for the context, up to 0.2
for the weights (rembg's isnet has 0.18, our own networks 0.01), the rest for activations at 1,024 px. That is arithmetic; no
GPU was measured."""
_GRAIN = 10_000
"""Ray counts GPUs in ten-thousandths."""


@dataclass(frozen=True)
class Node:
    """What a node of a cluster has."""

    cpus: int
    gpus: int = 0


@dataclass(frozen=True)
class ClusterPlan:
    """Workers of a build. Each takes one CPU; those with a share of a GPU run on nodes that have both."""

    workers: int
    """At most, of both kinds together."""
    gpu_workers: int
    """At most, with a GPU."""
    gpu_share: float
    """Of a GPU, of each; 0 where there are none."""


def plan_workers(nodes: Sequence[Node], workers: int = 0, per_gpu: int = 0) -> ClusterPlan:
    """Return how many workers nodes get.

    Args:
        nodes: of the cluster.
        workers: of both kinds together; 0 for one a CPU.
        per_gpu: workers that share a GPU; 0 for as many as a node has CPUs for each of its GPUs, at most `MOST_ON_A_GPU`, and
            no more than `workers` take: Ray fills one GPU before it takes the next, so larger shares leave none idle.
    """
    total = workers or max(1, sum(node.cpus for node in nodes))
    with_gpus = [node for node in nodes if node.gpus and node.cpus]
    if not with_gpus:
        return ClusterPlan(total, 0, 0.0)
    fitting = max(min(MOST_ON_A_GPU, max(1, node.cpus // node.gpus)) for node in with_gpus)
    sharing = per_gpu or min(fitting, -(-total // sum(node.gpus for node in with_gpus)))
    room = sum(min(node.cpus, node.gpus * sharing) for node in with_gpus)
    return ClusterPlan(total, min(total, room), (_GRAIN // sharing) / _GRAIN)


def lack_of_gpus(nodes: Sequence[Node], what: str) -> str:
    """Return the error message for a build whose files take a GPU where no node has one with a CPU.

    Args:
        nodes: of the cluster.
        what: such as "--device cuda (detect, matte)".
    """
    cpus, gpus = sum(node.cpus for node in nodes), sum(node.gpus for node in nodes)
    return (
        f"expected nodes with a CPU and a GPU for {what}, found {cpus} CPUs and {gpus} GPUs on {len(nodes)} in all; add nodes "
        "with GPUs (ray start --num-gpus=N where Ray does not find them), or use --device cpu"
    )
