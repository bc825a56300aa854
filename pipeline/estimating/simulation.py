"""A build on a cluster, simulated: nodes that are lost and come back, a store with failing requests, and one main process.

Between two events the number of nodes is constant, so the work that is done is a product; only losses and returns of nodes
are drawn. What one photograph costs comes from `measured`, what nodes and requests cost from the user.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from ...datasets.stores.retries import PAUSES
from ...manifests.config import ConfigError
from .measured import BASE_MEMORY, ROW_MEMORY, Measured

_AHEAD: Final = 2
"""Photographs that a worker holds: the one it works on and the next."""
_PART: Final = 64 << 20
"""Bytes of a part of an upload, each of which is a request."""
_MOST_EVENTS: Final = 5_000_000


@dataclass(frozen=True)
class Cluster:
    """The machines."""

    nodes: int
    workers: int
    """Of each node."""
    price: float = 0.0
    """Of a node and hour; the machine with the main process is one more node."""
    losses: float = 0.0
    """Of a node and hour, such as the preemptions of spot machines."""
    return_seconds: float = 300.0
    """Until a lost node has a successor whose workers have loaded their models."""
    memory: int = 64 << 30
    """Bytes of the machine with the main process."""
    disk: int = 1 << 40
    """Bytes of its disk, for `.state` and the shards that are not uploaded yet."""


@dataclass(frozen=True)
class Store:
    """The object store that photographs come from and shards go to."""

    latency: float = 0.0
    """Seconds from a request to its first byte."""
    bandwidth: float = math.inf
    """Bytes per second, of all requests together."""
    requests: float = math.inf
    """Per second, of all nodes together."""
    failing: float = 0.0
    """Share of requests that fail."""
    get_price: float = 0.0
    """Of 1,000 requests that read."""
    put_price: float = 0.0
    """Of 1,000 requests that write."""

    @property
    def tries(self) -> float:
        """Mean number of requests for one object."""
        return sum(self.failing**number for number in range(len(PAUSES) + 1))

    @property
    def pause(self) -> float:
        """Mean seconds of waiting between tries."""
        return sum(pause * self.failing ** (number + 1) for number, pause in enumerate(PAUSES))

    @property
    def lost(self) -> float:
        """Share of objects of which every try fails."""
        return self.failing ** (len(PAUSES) + 1)


@dataclass(frozen=True)
class Estimate:
    """What a build takes."""

    seconds: float
    """From start to end."""
    working_seconds: float
    """Of those, with workers at work."""
    node_seconds: float
    """Of nodes that were there."""
    losses: int
    """Nodes that were lost."""
    repeated: float
    """Photographs that were worked on again because of that."""
    reads: float
    """Requests that read from the store."""
    writes: float
    """Requests that write to it."""
    unread: float
    """Photographs that end as `store_unavailable`; running the build again reads them."""
    memory: float
    """Bytes of the main process."""
    disk: float
    """Bytes of `.state` and shards."""
    cost: float
    limit: str
    """What sets the speed: workers, main process, bandwidth or requests of the store."""
    breaks: tuple[str, ...]
    """What does not hold at this size, with the remedy."""


def simulate(photographs: int, measured: Measured, cluster: Cluster, store: Store, seed: int = 0) -> Estimate:
    """Simulate a build.

    Args:
        photographs: number of inputs.
        measured: what each of them costs.
        cluster: the nodes.
        store: for photographs and shards; the default is a local disk that is never the limit.
        seed: of the losses of nodes.

    Raises:
        ConfigError: a number is out of range, or the nodes are lost faster than they work.
    """
    _check(photographs, cluster, store)
    each = measured.worker_seconds + store.tries * store.latency + store.pause
    limits = {
        "main process": 1.0 / max(measured.result_seconds, 1e-12),
        "bandwidth of the store": store.bandwidth / max(measured.input_bytes * store.tries, 1.0),
        "requests of the store": store.requests / store.tries,
    }
    slowest = min(limits, key=lambda name: limits[name])
    rate = cluster.workers / max(each, 1e-12)
    working, present, losses, repeated = _work(photographs, rate, limits[slowest], cluster, np.random.default_rng(seed))
    working += measured.start_seconds
    alone = photographs * measured.row_seconds
    seconds = working + alone
    node_seconds = present + cluster.nodes * (measured.start_seconds + alone) + seconds
    shards = photographs * measured.output_bytes
    reads = (photographs + repeated) * store.tries
    writes = store.tries * (shards / max(min(measured.shard_bytes, _PART), 1.0) + 3)
    memory = BASE_MEMORY + photographs * ROW_MEMORY
    disk = photographs * measured.state_bytes + shards
    cost = node_seconds / 3600 * cluster.price + (reads * store.get_price + writes * store.put_price) / 1000
    limit = slowest if limits[slowest] < rate * cluster.nodes else "workers"
    breaks = tuple(_breaks(photographs, memory, disk, alone, seconds, limit, limits[slowest] / rate, cluster))
    unread = photographs * store.lost
    return Estimate(
        seconds, working, node_seconds, losses, repeated, reads, writes, unread, memory, disk, cost, limit, breaks
    )  # fmt: skip


def _check(photographs: int, cluster: Cluster, store: Store) -> None:
    if photographs < 1 or cluster.nodes < 1 or cluster.workers < 1:
        raise ConfigError("expected at least one photograph, one node and one worker")
    if not 0 <= store.failing < 1 or store.bandwidth <= 0 or store.requests <= 0 or cluster.losses < 0:
        raise ConfigError("expected 0 <= failing < 1, bandwidth and requests above 0, and losses of at least 0")


def _work(
    photographs: float, rate: float, limit: float, cluster: Cluster, random: np.random.Generator
) -> tuple[float, float, int, float]:
    """Run the nodes until all is done; return seconds, seconds of nodes, losses and photographs that were repeated.

    A node that is lost takes along what its workers hold, on average half of it done; only that is work for nothing.
    """
    hourly = cluster.losses / 3600
    up, now, present, losses, repeated, left = cluster.nodes, 0.0, 0.0, 0, 0.0, float(photographs)
    back: list[float] = []
    while left > 0:
        speed = min(up * rate, limit)
        end = now + left / speed if speed else math.inf
        lost = now + random.exponential(1 / (up * hourly)) if up and hourly else math.inf
        then = min(end, lost, back[0] if back else math.inf)
        left -= (then - now) * speed
        present += (then - now) * up
        now = then
        if then == end:
            break
        if back and then == back[0]:
            heapq.heappop(back)
            up += 1
            continue
        up, losses = up - 1, losses + 1
        wasted = min(cluster.workers * (_AHEAD - 1) / 2, photographs - left)
        left, repeated = left + wasted, repeated + cluster.workers * _AHEAD
        heapq.heappush(back, now + cluster.return_seconds)
        if losses > _MOST_EVENTS:
            raise ConfigError(
                f"after {losses:,} lost nodes the build is not done: they are lost faster than they work; lower --losses"
            )
    return now, present, losses, repeated


def _breaks(
    photographs: int, memory: float, disk: float, alone: float, seconds: float, limit: str, nodes: float, cluster: Cluster
) -> list[str]:
    """Say what does not hold."""
    found = []
    parts = "build parts with --shard-of and keep them as data sets of their own; train reads several"
    if memory > cluster.memory:
        found.append(
            f"the main process takes {memory / 2**30:,.0f} GiB of memory and {cluster.memory / 2**30:,.0f} are there: "
            f"{(cluster.memory - BASE_MEMORY) // ROW_MEMORY:,} photographs fit; {parts}"
        )
    if disk > cluster.disk:
        found.append(f"the main process's disk takes {disk / 1e12:,.1f} TB and {cluster.disk / 1e12:,.1f} are there; {parts}")
    if limit != "workers":
        found.append(f"the {limit} sets the speed: {max(1, math.ceil(nodes)):,} of {cluster.nodes:,} nodes are enough")
    if alone > 0.2 * seconds:
        found.append(
            f"the nodes wait for {alone / 3600:,.1f} of {seconds / 3600:,.1f} hours while the main process lists, decides and "
            "packs alone; build parts with --shard-of, give the nodes back, then merge"
        )
    return found
