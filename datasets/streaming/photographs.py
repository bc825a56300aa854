"""Reads photographs with labelled heads out of finished shards, in a seeded order, split between ranks and workers.

A trainer of head finders or poses takes its crops from them itself; crops with one camera each are `loader`'s.

    for photo in PhotographStream([folder], split="train", seed=1, rank=0, num_ranks=1):
        for head in photo.heads:
            ...  # head.box, head.rotation, head.points; photo.image, photo.alphas
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...manifests import store
from ..shards.photographs import Photograph, decode_photograph
from ..shards.storage import DataError
from ..shards.tar import ShardReader


@dataclass(frozen=True)
class _Place:
    folder: Path
    shard: str
    offset: int
    num_bytes: int


class PhotographStream:
    """An endless or single pass over the photographs of finished sets."""

    def __init__(
        self, folders: Sequence[Path | str], split: str = "train", seed: int = 0, epochs: int | None = 1, shuffle: bool = True,
        rank: int = 0, num_ranks: int = 1,
    ) -> None:  # fmt: skip
        """Look up where the samples of a split lie; pictures are read when they are asked for.

        Args:
            folders: finished sets on this machine.
            split: which split.
            seed: of the order, which is another one in each epoch.
            epochs: passes over the set; None for no end.
            shuffle: draw an order; else by folder and shard.
            rank, num_ranks: take every `num_ranks`-th sample of the order from `rank` on, for ranks and workers of a loader.

        Raises:
            DataError: a set is unfinished or has no samples of the split, or some rank would look for one without end.
        """
        if not 0 <= rank < num_ranks:
            raise DataError(f"expected a rank from 0 to {num_ranks - 1}, got {rank}")
        self._places = [place for folder in folders for place in _places(Path(folder), split)]
        if epochs is None and len(self._places) < num_ranks:
            raise DataError(
                f"expected {num_ranks} photographs or more, one for each of {num_ranks} ranks without end, got "
                f"{len(self._places)}; start fewer ranks or workers, or give more sets"
            )
        self.seed, self.epochs, self.shuffle, self.rank, self.num_ranks = seed, epochs, shuffle, rank, num_ranks

    def __len__(self) -> int:
        """Return how many photographs one pass of all ranks reads."""
        return len(self._places)

    def order(self, epoch: int) -> list[int]:
        """Return the indices of this rank's samples in an epoch."""
        order = np.arange(len(self._places))
        if self.shuffle:
            key = hashlib.sha256(f"photographs\x00{self.seed}\x00{epoch}".encode()).digest()
            np.random.Generator(np.random.Philox(key=int.from_bytes(key[:16], "big"))).shuffle(order)
        return [int(index) for index in order[self.rank :: self.num_ranks]]

    def read(self, index: int) -> Photograph:
        """Read one photograph by its place in the set; safe to call in any process."""
        place = self._places[index]
        with ShardReader(place.folder) as reader:
            return decode_photograph(*reader.members(place.shard, place.offset, place.num_bytes))

    def __iter__(self) -> Iterator[Photograph]:
        epoch = 0
        while self.epochs is None or epoch < self.epochs:
            for index in self.order(epoch):
                yield self.read(index)
            epoch += 1


def _places(folder: Path, split: str) -> list[_Place]:
    try:
        table = store.read(folder, columns=["status", "split", "shard", "offset", "num_bytes"]).kept
    except store.ManifestError as error:
        raise DataError(str(error)) from error
    rows = [row for row in table.to_pylist() if row["split"] == split]
    if not rows:
        found = ", ".join(sorted({str(name) for name in table["split"].to_pylist()})) or "no samples at all"
        raise DataError(f"{folder}: no samples of split {split!r}; the set has {found}")
    places = [_Place(folder, row["shard"], row["offset"], row["num_bytes"]) for row in rows]
    return sorted(places, key=lambda place: (place.shard, place.offset))
