"""Which rows of a set show the same picture: equal keys, and near duplicates by perceptual hash, mirror images included.

Pure functions of whole columns: the order of rows never matters. Computing the hashes is left to `perceptual_hash`, and what
becomes of the rows that give way to the build.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Indices = NDArray[np.int64]

_BITS = 64
_FLUSH = 2_000_000
"""Links held before they are merged into labels."""


@dataclass(frozen=True)
class DuplicateSettings:
    """Which near duplicates give way."""

    near: bool = True
    """Look for near duplicates at all."""
    max_distance: int = 4
    """Hashes that differ in at most this many of 64 bits show the same picture, 0 to 16. Faces that were aligned alike are
    closer to each other than photographs at large; above 6, look at the pairs first."""
    mirror: bool = True
    """A picture and its mirror image are duplicates too."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_distance <= 16:
            raise ValueError(f"expected a max_distance of 0 to 16 bits, got {self.max_distance}")


@dataclass(frozen=True, eq=False)
class Duplicates:
    """What was found, one entry a row in the order of the input."""

    cluster: list[str]
    """Smallest id of the row's cluster, in which a chain of likenesses leads from each row to each; empty where it is alone."""
    kept: NDArray[np.bool_]
    """Whether the row stays."""
    duplicate_of: list[str]
    """Id of the kept row that this one looks like and gives way to; empty where it stays."""


def find_equal(ids: Sequence[str], keys: Sequence[str], scores: Sequence[float]) -> Duplicates:
    """Cluster rows with the same key, such as the hash of their pixels; empty keys are equal to nothing.

    Args:
        ids: (N,) distinct ids.
        keys: (N,) any text.
        scores: (N,) quality; the highest of a cluster stays, the smallest id among equals. NaN counts as the lowest.

    Raises:
        ValueError: columns of unequal length, or an id that occurs twice.
    """
    _check(ids, keys, scores)
    names = [f"key/{key}" if key else f"id/{id}" for key, id in zip(keys, ids, strict=True)]
    labels, _ = _factorise(names)
    units = np.arange(len(ids), dtype=np.int64)
    claims = _Claims.of(ids, units, list(ids), scores)
    return claims.decide(labels, units, labels.astype(np.uint64), 0)


def find_near(
    ids: Sequence[str],
    phash: Sequence[str],
    phash_mirror: Sequence[str],
    scores: Sequence[float],
    parents: Sequence[str],
    settings: DuplicateSettings | None = None,
) -> Duplicates:
    """Cluster rows that look alike and choose which of them stay.

    Two rows are near when any hash of the one (its own or, with `mirror`, that of its mirror image) is within the distance of
    any hash of the other. From the best row downwards, a row stays unless it is near one that stays: so whatever gives way
    really looks like what is kept, and a video that turns slowly round a head keeps its views. Clusters join all that
    is near over any number of steps: they are for splits.

    Rows derived from one parent are one unit with it: never duplicates of each other, and kept or given up together. A unit
    is compared by its parent's hashes; by all of its rows' where the parent is not in the set.

    Args:
        ids: (N,) distinct ids.
        phash: (N,) 16 hex digits, or empty where unknown: such a row is near to nothing.
        phash_mirror: (N,) the hash of the mirror image, in the same form.
        scores: (N,) quality; the unit with the highest stays, the smallest id among equals. NaN counts as the lowest.
        parents: (N,) id of the row that each was derived from, in the set or not; empty for originals.
        settings: distance and mirror.

    Returns:
        Clusters; 1,000,000 rows at distance 6 take under a minute.

    Raises:
        ValueError: columns of unequal length, an id that occurs twice, a malformed hash, or parents that form a ring.
    """
    settings = settings or DuplicateSettings()
    _check(ids, phash, phash_mirror, scores, parents)
    units, unit_ids = _lineages(ids, parents)
    claims = _Claims.of(ids, units, unit_ids, scores)
    num_units = len(unit_ids)
    if not settings.near or not ids:
        nothing = np.zeros(0, dtype=np.int64)
        return claims.decide(np.arange(num_units, dtype=np.int64), nothing, nothing.astype(np.uint64), 0)
    owners, hashes = [], []
    for column in [phash, phash_mirror] if settings.mirror else [phash]:
        known = np.array([bool(text) for text in column]) & claims.speaks
        owners.append(units[known])
        hashes.append(parse_hashes([column[index] for index in np.flatnonzero(known).tolist()]))
    owner, value = np.concatenate(owners), np.concatenate(hashes)
    distinct, place = np.unique(value, return_inverse=True)
    first, second = close_pairs(distinct, settings.max_distance)
    labels = _components(
        num_units + distinct.size,
        np.concatenate([owner, first + num_units]),
        np.concatenate([place.reshape(-1) + num_units, second + num_units]),
    )[:num_units]
    return claims.decide(labels, owner, value, settings.max_distance)


def parse_hashes(texts: Sequence[str]) -> Hashes:
    """Turn 16-digit hexadecimal hashes into (N,) uint64.

    Raises:
        ValueError: a text of another form; the message shows it.
    """
    try:
        if any(len(text) != 16 for text in texts):
            raise ValueError
        return np.frombuffer(bytes.fromhex("".join(texts)), dtype=">u8").astype(np.uint64)
    except ValueError:
        bad = next(text for text in texts if len(text) != 16 or not all(c in "0123456789abcdefABCDEF" for c in text))
        raise ValueError(f"expected a hash of 16 hexadecimal digits, got {bad!r}") from None


def close_pairs(values: Hashes, max_distance: int) -> tuple[Indices, Indices]:
    """Return index pairs that link all distinct hashes within a distance: the links span every cluster, not every pair.

    If two hashes differ in at most d bits and the 64 bits are cut into m > d blocks, at least m - d blocks agree (Manku, Jain
    and Das Sarma 2007). So for every choice of m - d blocks the hashes are sorted by these bits and compared within runs of
    equal bits; m is chosen by the expected number of comparisons. Blocks are interleaved, because the low frequencies
    of a perceptual hash vary least.

    Args:
        values: (N,) distinct hashes.
        max_distance: d.
    """
    empty = np.zeros(0, dtype=np.int64)
    if max_distance == 0 or values.size < 2:
        return empty, empty
    num_blocks = _best_blocks(values.size, max_distance)
    labels = np.arange(values.size, dtype=np.int64)
    found: list[tuple[Indices, Indices]] = []
    pending: list[tuple[Indices, Indices]] = []
    for left_out in itertools.combinations(range(num_blocks), max_distance):
        mask = sum(1 << bit for bit in range(_BITS) if bit % num_blocks not in left_out)
        for first, second in _compare_runs(values, values & np.uint64(mask), labels, max_distance):
            pending.append((first, second))
            if sum(pair[0].size for pair in pending) > _FLUSH:
                found.append(_spanning(labels, pending))
                labels, pending = _merge(labels, pending), []
    found.append(_spanning(labels, pending))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _compare_runs(values: Hashes, keys: Hashes, labels: Indices, max_distance: int) -> list[tuple[Indices, Indices]]:
    """Compare hashes whose keys are equal and that are not yet in one cluster."""
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    links: list[tuple[Indices, Indices]] = []
    active = np.flatnonzero(keys[1:] == keys[:-1])
    step = 1
    while active.size:
        first, second = order[active], order[active + step]
        new = labels[first] != labels[second]
        first, second = first[new], second[new]
        near = np.bitwise_count(values[first] ^ values[second]) <= max_distance
        if near.any():
            links.append((first[near], second[near]))
        step += 1
        active = active[active + step < keys.size]
        active = active[keys[active] == keys[active + step]]
    return links


def _best_blocks(count: int, max_distance: int) -> int:
    """Return the number of blocks with the least sorting and comparing for `count` evenly spread hashes."""

    def cost(blocks: int) -> float:
        bits = _BITS * (blocks - max_distance) // blocks
        return math.comb(blocks, max_distance) * (20.0 * count + 0.5 * count * count / 2.0**bits)

    return min(range(max_distance + 1, max_distance + 5), key=cost)


def _spanning(labels: Indices, pairs: list[tuple[Indices, Indices]]) -> tuple[Indices, Indices]:
    """Return links between the clusters so far that say the same as `pairs`: one for each cluster that was joined."""
    merged = _merge(labels, pairs)
    heads = np.unique(labels)
    _, first, place = np.unique(merged[heads], return_index=True, return_inverse=True)
    anchor = heads[first][place.reshape(-1)]
    joined = anchor != heads
    return heads[joined], anchor[joined]


def _merge(labels: Indices, pairs: list[tuple[Indices, Indices]]) -> Indices:
    """Return labels in which linked clusters have become one; a label is the index of one of its members."""
    if not pairs:
        return labels
    first = labels[np.concatenate([pair[0] for pair in pairs])]
    second = labels[np.concatenate([pair[1] for pair in pairs])]
    components = _components(labels.size, first, second)
    _, heads = np.unique(components, return_index=True)
    return np.asarray(heads[components[labels]], dtype=np.int64)


def _components(count: int, first: Indices, second: Indices) -> Indices:
    """Return the component number of each of `count` nodes under undirected links."""
    if not first.size:
        return np.arange(count, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(first.size, dtype=np.int8), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph.tocsr(), directed=False)[1], dtype=np.int64)


def _factorise(names: Sequence[str]) -> tuple[Indices, list[str]]:
    """Return for each name its number, and the names by number."""
    numbers: dict[str, int] = {}
    places = np.fromiter((numbers.setdefault(name, len(numbers)) for name in names), dtype=np.int64, count=len(names))
    return places, list(numbers)


def _lineages(ids: Sequence[str], parents: Sequence[str]) -> tuple[Indices, list[str]]:
    """Return the unit of each row and the id of each unit's first ancestor, which need not be in the set."""
    index = {id: place for place, id in enumerate(ids)}
    above = np.array([index.get(parent, place) for place, parent in enumerate(parents)], dtype=np.int64)
    for _ in range(max(1, len(ids)).bit_length() + 1):
        further = above[above]
        if np.array_equal(further, above):
            break
        above = further
    if any(parents[top] in index for top in np.unique(above).tolist()):
        raise ValueError("expected parents that lead to an original, got rows that descend from themselves")
    return _factorise([parents[top] or ids[top] for top in above.tolist()])


@dataclass(frozen=True, eq=False)
class _Claims:
    """Who stands for each unit and how strong its claim to stay is."""

    ids: Sequence[str]
    units: Indices
    """(N,) unit of each row."""
    speaks: NDArray[np.bool_]
    """(N,) which rows' hashes and scores stand for their unit: its first ancestor where that is in the set, else all rows."""
    speaker: Indices
    """(U,) for each unit the row with its strongest claim."""
    standing: Indices
    """(U,) place of each unit among all, 0 for the strongest claim."""

    @classmethod
    def of(cls, ids: Sequence[str], units: Indices, unit_ids: Sequence[str], scores: Sequence[float]) -> _Claims:
        is_first = np.array([id == unit_ids[unit] for id, unit in zip(ids, units.tolist(), strict=True)], dtype=bool)
        present = np.zeros(len(unit_ids), dtype=bool)
        present[units[is_first]] = True
        speaks = is_first | ~present[units]
        values = np.asarray(scores, dtype=np.float64)
        order = np.lexsort((_rank(ids), -np.where(np.isnan(values), -np.inf, values)))
        order = order[speaks[order]]
        _, first = np.unique(units[order], return_index=True)
        standing = np.empty(first.size, dtype=np.int64)
        standing[np.argsort(first)] = np.arange(first.size)
        return cls(ids, units, speaks, order[first], standing)

    def decide(self, labels: Indices, owner: Indices, value: Hashes, max_distance: int) -> Duplicates:
        """Say who stays, from the cluster label of each unit and the hashes (unit, value) that stand for them."""
        sizes = np.bincount(labels, minlength=labels.size)
        gives_way = np.full(labels.size, -1, dtype=np.int64)
        crowded = sizes[labels[owner]] > 1
        owner, value = owner[crowded], value[crowded]
        order = np.lexsort((self.standing[owner], labels[owner]))
        owner, value = owner[order], value[order]
        starts = np.flatnonzero(np.diff(labels[owner], prepend=-1))
        for start, end in itertools.pairwise([*starts.tolist(), owner.size]):
            _choose(owner[start:end], value[start:end], max_distance, gives_way)
        ordered = sorted(range(len(self.ids)), key=self.ids.__getitem__)
        smallest = np.full(labels.size, len(self.ids), dtype=np.int64)
        np.minimum.at(smallest, labels[self.units], _rank(self.ids))
        cluster = [self.ids[ordered[smallest[label]]] if sizes[label] > 1 else "" for label in labels[self.units].tolist()]
        leader = gives_way[self.units].tolist()
        return Duplicates(
            cluster, gives_way[self.units] < 0, [self.ids[self.speaker[unit]] if unit >= 0 else "" for unit in leader]
        )


def _choose(owner: Indices, value: Hashes, max_distance: int, gives_way: Indices) -> None:
    """Go through one cluster's units from the strongest claim down; write into `gives_way` which unit each yields to."""
    while owner.size:
        leader = owner[0]
        own = value[owner == leader]
        near = (np.bitwise_count(value[:, None] ^ own[None]) <= max_distance).any(axis=1)
        taken = np.unique(owner[near])
        gives_way[taken[taken != leader]] = leader
        rest = ~np.isin(owner, taken)
        owner, value = owner[rest], value[rest]


def _rank(ids: Sequence[str]) -> Indices:
    """Return the place of each id in sorted order."""
    rank = np.empty(len(ids), dtype=np.int64)
    rank[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids))
    return rank


def _check(ids: Sequence[str], *columns: Sequence[object]) -> None:
    if any(len(column) != len(ids) for column in columns):
        raise ValueError(f"expected columns of {len(ids)} rows, got {[len(column) for column in columns]}")
    if len(set(ids)) != len(ids):
        raise ValueError("expected distinct ids, got one that occurs twice")
