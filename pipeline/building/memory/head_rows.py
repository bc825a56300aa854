"""Rows of heads as Arrow tables: texts of the build's memory parsed by Arrow, page by page, without an object per cell.

What the set makes of a head is added by `commit`; which columns there are is `manifests.schema`'s.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.json

from ....manifests.schema import COLUMNS, flatten
from .state import State

PAGE = 4096
"""Rows of a page, and of a row group of the manifest: it decides the bytes."""
_PARSED = {"camera": pa.list_(pa.float64())}
"""Types to parse by where a cast must round as Python's does."""
_UNUSED = {"landmarks": pa.list_(pa.float64())}
"""Parts of rows that are no columns."""
_GROUPS = {"scores": pa.float64(), "notes": pa.string()}
"""Parts of rows that hold columns of their own, and the type of these."""


Refusal = tuple[str, str, int, str, str, str]
"""Id, work key, place among the heads of its file, status, reason and detail of a head that a stage refused."""
_TOLD = ("head_index", "reason", "detail")


@dataclass(frozen=True)
class Page:
    """Some heads in a row, by id."""

    ids: list[str]
    work_keys: list[str]
    statuses: list[str]
    """What stages gave each head."""
    rights: list[str]
    kept: dict[int, str]
    """Place -> text of those that stages kept."""
    table: pa.Table
    """A row a head; columns of the manifest that any of them has, scores and notes among them."""
    digest: str
    """Hash of all that is known of them."""

    def refused(self, reason: str = "") -> Iterator[Refusal]:
        """Yield the heads that stages refused.

        Args:
            reason: that they were refused for; empty for any.
        """
        if not reason:
            yield from self._refusals(range(len(self.ids)))
        elif "reason" in self.table.column_names:
            yield from self._refusals(_places(pa.compute.equal(self.table["reason"], reason)))

    def refused_of(self, work_keys: Container[str]) -> Iterator[Refusal]:
        """Yield the heads of some contents that stages refused."""
        return self._refusals([place for place, work_key in enumerate(self.work_keys) if work_key in work_keys])

    def later_work_keys(self) -> set[str]:
        """Return the contents of which this page holds a head that is not their first."""
        return {self.work_keys[place] for place in _places(pa.compute.greater(self.table["head_index"], 0))}

    def _refusals(self, places: Sequence[int]) -> Iterator[Refusal]:
        rows = self.table.select([name for name in _TOLD if name in self.table.column_names])
        for place, row in zip(places, rows.take(pa.array(places, pa.int64())).to_pylist(), strict=True):
            if (status := self.statuses[place]) != "kept":
                told = row["head_index"], status, row.get("reason") or "", row.get("detail") or ""
                yield self.ids[place], self.work_keys[place], *told

    def with_columns(
        self, constants: Mapping[str, Any], changes: Mapping[str, Mapping[int, Any]], schema: pa.Schema
    ) -> pa.Table:
        """Return the rows with what is said of them beside their texts, in the columns of a schema.

        Args:
            constants: name -> value of rows that have none; `status` is what stages gave.
            changes: name -> place -> value that is taken instead.
            schema: of the manifest.
        """
        table, size = self.table, len(self.ids)
        columns = []
        for item in schema:
            kind = item.type.value_type if pa.types.is_dictionary(item.type) else item.type
            column = table[item.name].combine_chunks() if item.name in table.column_names else pa.nulls(size, kind)
            if item.name == "status":
                column = pa.array(self.statuses, kind)
            elif item.name in constants:
                column = column.fill_null(pa.scalar(constants[item.name], kind))
            if item.name in changes:
                values = column.to_pylist()
                for place, value in changes[item.name].items():
                    values[place] = value
                column = pa.array(values, kind)
            columns.append(column.dictionary_encode() if pa.types.is_dictionary(item.type) else column)
        return pa.table(columns, schema=schema)

    def reasons(self) -> Counter[str]:
        """Return the number of heads by the reason that stages refused them for."""
        if "reason" not in self.table.column_names:
            return Counter()
        refused = [status != "kept" for status in self.statuses]
        found = pa.compute.value_counts(self.table["reason"].filter(pa.array(refused))).to_pylist()
        return Counter({item["values"]: item["counts"] for item in found if item["values"]})


@dataclass
class RowReader:
    """Reads pages, and notes which scores and notes rows have."""

    names: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _GROUPS})
    """Names of scores and of notes that were met so far."""

    def pages(self, state: State) -> Iterator[Page]:
        """Yield every head that is chosen for the set; of several contents that claim one id the first counts."""
        heads: list[tuple[str, ...]] = []
        last: str | None = None
        for head in state.heads():
            if head[0] == last:
                continue
            last = head[0]
            heads.append(head)
            if len(heads) == PAGE:
                yield self._page(heads)
                heads = []
        if heads:
            yield self._page(heads)

    def _page(self, heads: Sequence[tuple[str, ...]]) -> Page:
        columns = ids, work_keys, statuses, texts, rights = [list(column) for column in zip(*heads, strict=True)]
        digest = hashlib.sha256("\0".join(itertools.chain(*columns)).encode()).hexdigest()
        kept = {place: texts[place] for place, status in enumerate(statuses) if status == "kept"}
        return Page(ids, work_keys, statuses, rights, kept, self.table(texts), digest)

    def table(self, texts: Sequence[str]) -> pa.Table:
        """Return rows of canonical JSON as a table.

        Raises:
            KeyError: a row has a field that is no column.
        """
        data = "\n".join(texts).encode()
        try:
            found = self._parsed(data)
        except pa.ArrowInvalid:
            rows = [json.loads(text) for text in texts]
            for name, known in self.names.items():
                known.update(*(row.get(name, ()) for row in rows))
            try:
                found = self._parsed(data)
            except pa.ArrowInvalid:  # such as a field that is no column: told by name
                found = _plain(rows)
        for group in _GROUPS:
            prefix = f"{group[:-1]}_"
            self.names[group].update(name.removeprefix(prefix) for name in found.column_names if name.startswith(prefix))
        return found

    def _parsed(self, data: bytes) -> pa.Table:
        """Parse rows by the names known so far, and leave out columns that are all null."""
        fields = {name: _PARSED.get(name, kind) for name, (kind, _) in COLUMNS.items()}
        groups = {name: pa.struct([(inner, kind) for inner in sorted(self.names[name])]) for name, kind in _GROUPS.items()}
        table = pa.json.read_json(
            pa.BufferReader(data),
            read_options=pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1),
            parse_options=pa.json.ParseOptions(
                explicit_schema=pa.schema({**fields, **groups, **_UNUSED}), unexpected_field_behavior="error"
            ),
        )
        columns = {name: table[name].cast(kind) for name, (kind, _) in COLUMNS.items()}
        for group in _GROUPS:
            inner = table[group].combine_chunks()
            columns |= {f"{group[:-1]}_{name}": pa.compute.struct_field(inner, [name]) for name in sorted(self.names[group])}
        return pa.table({name: column for name, column in columns.items() if column.null_count < len(column)})


def _plain(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows as a table, value by value."""
    flat = [flatten({name: value for name, value in row.items() if name not in _UNUSED}) for row in rows]
    columns = {}
    for name in dict.fromkeys(name for row in flat for name in row):
        kind = COLUMNS[name][0] if name in COLUMNS else _GROUPS[f"{name.partition('_')[0]}s"]
        columns[name] = pa.array([row.get(name) for row in flat], kind)
    return pa.table(columns)


def _places(mask: pa.ChunkedArray) -> list[int]:
    """Return where a mask is true."""
    places: list[int] = pa.compute.indices_nonzero(mask).to_pylist()
    return places


def rights_of(text: str) -> dict[str, str]:
    """Return stored rights."""
    return dict(json.loads(text)) if text else {}
