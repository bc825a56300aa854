"""What differs between two manifests: rows added, removed and changed by id, settings, back ends, versions and shards.

The pixels are compared only as far as the manifests' hashes speak of them; `datasets.shards.verify` says whether those hold.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .config import to_plain
from .frames import pages
from .store import Header, Manifest, read, read_header

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
    """Ids that only the second has; where a maximum number was given, the first of them."""
    removed: tuple[str, ...]
    """Ids that only the first has, likewise."""
    changed: tuple[tuple[str, tuple[Change, ...]], ...]
    """(id, changes) of rows that both have, likewise."""
    header: tuple[Change, ...]
    """Settings, back ends, weights, package versions, counts and shards."""
    counts: tuple[int, int, int]
    """Rows that were added, removed and changed."""
    columns: dict[str, int]
    """Rows that changed, by column, most frequent first."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs: commands exit with 0 then, and with 3 otherwise."""
        return not (any(self.counts) or self.header)

    def text(self, limit: int = 10) -> str:
        """Word the difference, naming at most `limit` rows or values a paragraph."""
        if self.equal:
            return "equal: the same rows, settings, versions and shards"
        added, removed, changed = self.counts
        lines = [f"rows: {added:,} added, {removed:,} removed, {changed:,} changed"]
        for title, ids, count in (("added", self.added, added), ("removed", self.removed, removed)):
            lines += [f"  {title} {key}" for key in ids[:limit]] + _more(count, min(limit, len(ids)))
        if changed:
            named = [f"{name} {count:,}" for name, count in self.columns.items()]
            rest = [f"and {len(named) - 2 * limit} more"] if len(named) > 2 * limit else []
            lines.append("changed columns: " + ", ".join(named[: 2 * limit] + rest))
            for key, changes in self.changed[:limit]:
                lines += [f"  {key} {change}" for change in changes[:limit]] + _more(len(changes), limit)
            lines += _more(changed, min(limit, len(self.changed)))
        if self.header:
            lines.append(f"header: {len(self.header):,} values differ")
            lines += [f"  {change}" for change in self.header[:limit]] + _more(len(self.header), limit)
        return "\n".join(lines)


def diff(first: Manifest, second: Manifest) -> Difference:
    """Compare two data sets in memory.

    Args:
        first, second: as from `store.read`, with all columns or with the same choice of them.
    """
    sides = [iter([manifest.table.sort_by("id")]) for manifest in (first, second)]
    return _compare((first.header, second.header), sides[0], sides[1], None)


def diff_folders(first: Path, second: Path, most: int) -> Difference:
    """Compare two data sets page by page: the memory that it takes does not grow with them.

    Args:
        first, second: what `--out` of the builds was.
        most: rows of a kind that are named; all are counted.

    Raises:
        ManifestError: a manifest is missing or damaged.
    """
    headers = read_header(first), read_header(second)
    if not all(_is_sorted(folder) for folder in (first, second)):  # builds write rows in order of ids
        tables = [read(folder).table.sort_by("id") for folder in (first, second)]
        return _compare(headers, iter(tables[:1]), iter(tables[1:]), most)
    return _compare(headers, pages(first), pages(second), most)


def _is_sorted(folder: Path) -> bool:
    """Return whether a data set's rows stand in order of ids, one a row."""
    last = ""
    for page in pages(folder, ("id",)):
        ids = pa.concat_arrays([pa.array([last]), *page["id"].chunks])
        if pc.any(pc.fill_null(pc.greater_equal(ids[:-1], ids[1:]), True)).as_py():
            return False
        last = ids[-1].as_py()
    return True


def _compare(
    headers: tuple[Header, Header], first: Iterator[pa.Table], second: Iterator[pa.Table], most: int | None
) -> Difference:
    """Compare pages of rows that are sorted by id."""
    added, removed = list[str](), list[str]()
    changed = list[tuple[str, tuple[Change, ...]]]()
    counts, columns = [0, 0, 0], Counter[str]()
    for before, after in _aligned(first, second):
        ids = [table["id"].combine_chunks() for table in (before, after)]
        new = pc.filter(ids[1], pc.invert(pc.is_in(ids[1], ids[0])))
        gone = pc.filter(ids[0], pc.invert(pc.is_in(ids[0], ids[1])))
        shared = ids[0] if not len(gone) else pc.filter(ids[0], pc.is_in(ids[0], ids[1]))
        rows = [
            table if key.equals(shared) else table.take(pc.index_in(shared, key))
            for table, key in zip((before, after), ids, strict=True)
        ]
        other = _changed_rows(shared, rows[0], rows[1])
        columns.update(change.name for _, changes in other for change in changes)
        counts = [counts[0] + len(new), counts[1] + len(gone), counts[2] + len(other)]
        added += new.to_pylist()
        removed += gone.to_pylist()
        changed += other
        if most is not None:
            del added[most:], removed[most:], changed[most:]
    return Difference(
        tuple(added), tuple(removed), tuple(changed), tuple(_changed_header(*headers)), (counts[0], counts[1], counts[2]),
        dict(sorted(columns.items(), key=lambda item: (-item[1], item[0]))),
    )  # fmt: skip


def _aligned(first: Iterator[pa.Table], second: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield pages of two tables that are sorted by id, cut so that both pages of a pair span the same ids."""
    sides = [_nonempty(first), _nonempty(second)]
    open_pages = [next(side, None) for side in sides]
    while any(page is not None for page in open_pages):
        end = min(page["id"][-1].as_py() for page in open_pages if page is not None)
        pair = []
        for place, page in enumerate(open_pages):
            if page is None:
                pair.append(pa.table({"id": pa.array([], pa.string())}))
                continue
            count = pc.sum(pc.less_equal(page["id"], end)).as_py()
            pair.append(page.slice(0, count))
            open_pages[place] = page.slice(count) if count < len(page) else next(sides[place], None)
        yield pair[0], pair[1]


def _nonempty(pages: Iterator[pa.Table]) -> Iterator[pa.Table]:
    return (page for page in pages if len(page))


def _changed_rows(ids: pa.Array, before: pa.Table, after: pa.Table) -> list[tuple[str, tuple[Change, ...]]]:
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
    return sorted(((ids[index].as_py(), tuple(changes)) for index, changes in by_row.items()), key=lambda item: item[0])


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
