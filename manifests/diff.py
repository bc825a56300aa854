"""What differs between two manifests: rows added, removed and changed by id, settings, back ends, versions and shards.

The pixels are compared only as far as the manifests' hashes speak of them; `datasets.shards.verify` says whether those hold.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .config import to_plain
from .store import Header, Manifest

ABSENT = "(absent)"
"""Stands for a setting or column that one side does not have."""


@dataclass(frozen=True)
class Change:
    """One value that differs."""

    name: str
    """Column of a row, or dotted path of a setting."""
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.before)} -> {_short(self.after)}"


@dataclass(frozen=True)
class Difference:
    """All that differs between two data sets, by id and by name."""

    added: tuple[str, ...]
    """Ids that only the second has."""
    removed: tuple[str, ...]
    """Ids that only the first has."""
    changed: tuple[tuple[str, tuple[Change, ...]], ...]
    """(id, changes) of rows that both have."""
    header: tuple[Change, ...]
    """Settings, back ends, weights, package versions, counts and shards."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs: commands exit with 0 then, and with 1 otherwise."""
        return not (self.added or self.removed or self.changed or self.header)

    @property
    def columns(self) -> dict[str, int]:
        """Rows that changed, by column, most frequent first."""
        tally = Counter(change.name for _, changes in self.changed for change in changes)
        return dict(sorted(tally.items(), key=lambda item: (-item[1], item[0])))

    def text(self, limit: int = 10) -> str:
        """Word the difference, naming at most `limit` rows or values a paragraph."""
        if self.equal:
            return "equal: the same rows, settings, versions and shards"
        lines = [f"rows: {len(self.added):,} added, {len(self.removed):,} removed, {len(self.changed):,} changed"]
        for title, ids in (("added", self.added), ("removed", self.removed)):
            lines += [f"  {title} {key}" for key in ids[:limit]] + _more(len(ids), limit)
        if self.changed:
            named = [f"{name} {count:,}" for name, count in self.columns.items()]
            rest = [f"and {len(named) - 2 * limit} more"] if len(named) > 2 * limit else []
            lines.append("changed columns: " + ", ".join(named[: 2 * limit] + rest))
            for key, changes in self.changed[:limit]:
                lines += [f"  {key} {change}" for change in changes[:limit]] + _more(len(changes), limit)
            lines += _more(len(self.changed), limit)
        if self.header:
            lines.append(f"header: {len(self.header):,} values differ")
            lines += [f"  {change}" for change in self.header[:limit]] + _more(len(self.header), limit)
        return "\n".join(lines)


def diff(first: Manifest, second: Manifest) -> Difference:
    """Compare two data sets.

    Args:
        first, second: as from `store.read`, with all columns or with the same choice of them.
    """
    ids = [table["id"].combine_chunks() for table in (first.table, second.table)]
    added = pc.filter(ids[1], pc.invert(pc.is_in(ids[1], ids[0])))
    removed = pc.filter(ids[0], pc.invert(pc.is_in(ids[0], ids[1])))
    shared = pc.filter(ids[0], pc.is_in(ids[0], ids[1]))
    rows = [table.take(pc.index_in(shared, key)) for table, key in zip((first.table, second.table), ids, strict=True)]
    return Difference(
        added=tuple(sorted(added.to_pylist())),
        removed=tuple(sorted(removed.to_pylist())),
        changed=_changed_rows(shared, rows[0], rows[1]),
        header=tuple(_changed_header(first.header, second.header)),
    )


def _changed_rows(ids: pa.Array, before: pa.Table, after: pa.Table) -> tuple[tuple[str, tuple[Change, ...]], ...]:
    """Compare two tables row by row; columns that are equal as a whole cost one comparison."""
    by_row: dict[int, list[Change]] = {}
    names = [*before.column_names, *(name for name in after.column_names if name not in before.column_names)]
    for name in names:
        if name in before.column_names and name in after.column_names and before[name].equals(after[name]):
            continue
        values = [table[name].to_pylist() if name in table.column_names else [ABSENT] * len(ids) for table in (before, after)]
        for index, (old, new) in enumerate(zip(*values, strict=True)):
            if not _same(old, new):
                by_row.setdefault(index, []).append(Change(name, old, new))
    keyed = [(str(ids[index]), tuple(changes)) for index, changes in by_row.items()]
    return tuple(sorted(keyed, key=lambda item: item[0]))


def _changed_header(before: Header, after: Header) -> Iterator[Change]:
    sides = [dict(_leaves(_readable(header))) for header in (before, after)]
    for name in sorted({*sides[0], *sides[1]}):
        old, new = (side.get(name, ABSENT) for side in sides)
        if not _same(old, new):
            yield Change(name, old, new)


def _readable(header: Header) -> dict[str, Any]:
    """Return the header with lists of named things as mappings, so that paths say "chain.matte.backend", not "3"."""
    plain: dict[str, Any] = {
        field.name: to_plain(getattr(header, field.name))
        for field in dataclasses.fields(header)
        if field.name != "manifest_sha256"
    }
    plain["shards"] = {entry.pop("name"): entry for entry in plain["shards"]}
    chains = {key: _by_stage(chain) for key, chain in plain.pop("chains").items()}
    plain["chain"] = next(iter(chains.values())) if len(chains) == 1 else chains
    if isinstance(plain["recipe"].get("stages"), list):
        plain["recipe"] = {**plain["recipe"], "stages": _by_stage(plain["recipe"]["stages"])}
    return plain


def _by_stage(items: Any) -> Any:
    named = isinstance(items, list) and all(isinstance(item, dict) and "stage" in item for item in items)
    return {item["stage"]: {key: value for key, value in item.items() if key != "stage"} for item in items} if named else items


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key in sorted(value):
            yield from _leaves(value[key], f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _same(old: Any, new: Any) -> bool:
    if isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new):
        return True
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_same(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def _short(value: Any) -> str:
    text = "[" + ", ".join(f"{item:.6g}" for item in value) + "]" if _numbers(value) else str(value)
    return text if len(text) <= 72 else f"{text[:60]}... ({len(text)} characters)"


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, float) for item in value) and bool(value)


def _more(count: int, limit: int) -> list[str]:
    return [f"  ... and {count - limit:,} more"] if count > limit else []
