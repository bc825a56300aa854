"""Which split each row of a set belongs to, without leakage: rows that share anything are never parted.

Pure functions of whole columns: the order of rows never matters, and a row keeps its split when the set grows, unless what
was added links it to others. Near-duplicate clusters come from `duplicates`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...datasets.arrays import Array
from ...manifests.identity import unit_interval

_NAME = re.compile(r"\w[\w .-]{0,59}")


@dataclass(frozen=True)
class SplitSettings:
    """Shares of the splits."""

    fractions: Mapping[str, float] = field(default_factory=lambda: {"train": 0.95, "val": 0.05})
    """Split name -> share of the components; the shares add up to 1."""
    salt: str = ""
    """Any text; another one deals the components anew."""

    def __post_init__(self) -> None:
        if not self.fractions or any(not name or share < 0 for name, share in self.fractions.items()):
            raise ValueError(f"expected named shares of 0 or more, got {dict(self.fractions)}")
        for name in self.fractions:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    "expected names of splits of at most 60 letters, digits, '_', '-', '.' and spaces, the first a letter or "
                    f"digit, because shards' file names begin with them, got {name[:80]!r}"
                )
        if abs(sum(self.fractions.values()) - 1.0) > 1e-6:
            raise ValueError(f"expected shares that add up to 1, got {sum(self.fractions.values()):.6g}")


@dataclass(frozen=True, eq=False)
class Links:
    """What ties rows together: one entry a row in each column, empty where there is nothing."""

    ids: Sequence[str]
    """Distinct ids."""
    identity: Sequence[str]
    """Key of the person."""
    group: Sequence[str]
    """Album, video or shoot."""
    sha256: Sequence[str]
    """Digest of the file that the row came from."""
    cluster: Sequence[str]
    """Near-duplicate cluster."""
    parent: Sequence[str]
    """Id of the row that this one was derived from, in the set or not."""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in vars(self).items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected columns of equal length, got {lengths}")
        if len(set(self.ids)) != len(self.ids):
            raise ValueError("expected distinct ids, got one that occurs twice")

    def kinds(self) -> dict[str, Sequence[str]]:
        """Return the columns whose equal entries tie rows together; a row's lineage is handled apart."""
        return {"identity": self.identity, "group": self.group, "sha256": self.sha256, "cluster": self.cluster}


@dataclass(frozen=True, eq=False)
class Splits:
    """The result, one entry a row in the order of the input."""

    component: list[str]
    """Smallest id of all rows that this one is tied to over any number of steps."""
    split: list[str]
    """Name of the split."""


def assign_splits(links: Links, settings: SplitSettings | None = None) -> Splits:
    """Deal connected components to splits by a hash.

    The hashed key of a component is the smallest of its identities; of its groups where it has none; then of its files; then
    of its ids. An identity or a file that gains pictures so keeps its split; only rows that tie two components together, or
    give one its first identity or group, can move one.

    Args:
        links: what ties rows together.
        settings: shares and salt.

    Returns:
        Component and split of each row. Shares hold on average over components, not over rows.
    """
    settings = settings or SplitSettings()
    labels = _components(links)
    smallest = _smallest_by_label(labels, links.ids)
    keys: dict[int, str] = {}
    for kind, column in (("identity", links.identity), ("group", links.group), ("sha256", links.sha256), ("id", links.ids)):
        for label, value in _smallest_by_label(labels, column).items():
            keys.setdefault(label, f"{kind}/{value}")
    splits = {label: _deal(key, settings) for label, key in keys.items()}
    rows = labels.tolist()
    return Splits([smallest[label] for label in rows], [splits[label] for label in rows])


def leakage(links: Links, splits: Sequence[str]) -> dict[str, int]:
    """Count, for each kind of tie, the keys whose rows lie in more than one split; all zero for a sound set.

    It looks at ties one by one and knows nothing of components, so that it can find a mistake in `assign_splits`.
    """
    found = {}
    for kind, column in links.kinds().items():
        seen: dict[str, set[str]] = {}
        for value, split in zip(column, splits, strict=True):
            if value:
                seen.setdefault(value, set()).add(split)
        found[kind] = sum(len(names) > 1 for names in seen.values())
    by_id = dict(zip(links.ids, splits, strict=True))
    families: dict[str, set[str]] = {}
    for parent, split in zip(links.parent, splits, strict=True):
        if parent:
            families.setdefault(parent, {by_id[parent]} if parent in by_id else set()).add(split)
    found["parent"] = sum(len(names) > 1 for names in families.values())
    return found


def _deal(key: str, settings: SplitSettings) -> str:
    """Return the split in whose share of [0, 1) the key's number falls; names are laid out in sorted order."""
    place, upper = unit_interval(f"{settings.salt}\x00{key}"), 0.0
    names = sorted(name for name, share in settings.fractions.items() if share > 0)
    for name in names[:-1]:
        upper += settings.fractions[name]
        if place < upper:
            return name
    return names[-1]


def _components(links: Links) -> Array:
    """Return the component number of each row: rows and keys are the nodes, a row is linked to each of its keys."""
    nodes: dict[str, int] = {}
    rows: list[int] = []
    keys: list[int] = []
    columns = [*links.kinds().items(), ("lineage", links.ids), ("lineage", links.parent)]
    for kind, column in columns:
        for row, value in enumerate(column):
            if value:
                rows.append(row)
                keys.append(nodes.setdefault(f"{kind}/{value}", len(nodes)))
    count = len(links.ids)
    total = count + len(nodes)
    places = (np.array(rows, dtype=np.int64), np.array(keys, dtype=np.int64) + count)
    if not count:
        return np.zeros(0, dtype=np.int64)
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(rows), dtype=np.int8), places), shape=(total, total))
    labels: Array = connected_components(graph.tocsr(), directed=False)[1][:count]
    return labels


def _smallest_by_label(labels: Array, values: Sequence[str]) -> dict[int, str]:
    """Return for each label the smallest of its rows' values that are not empty."""
    smallest: dict[int, str] = {}
    for label, value in zip(labels.tolist(), values, strict=True):
        if value and (label not in smallest or value < smallest[label]):
            smallest[label] = value
    return smallest
