"""What only all heads together can decide: duplicates, splits, view bins and weights.

The decisions are pure functions in `curation`; this module brings their columns together from the build's memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
import operator
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...manifests.schema import schema_for
from ..curation.balance import balance_views
from ..curation.duplicates import find_equal, find_near
from ..curation.splits import Links, assign_splits
from ..recipe import Recipe
from .memory.head_rows import Page, RowReader, rights_of
from .memory.state import State

QUALITY_SCORE = "quality"
"""Score by which the best of a cluster of duplicates is chosen."""
Place = tuple[str, int, int, int]
"""(shard, index in it, offset, bytes) of a sample."""
_PLACE = ("shard", "index_in_shard", "offset", "num_bytes")
_UNDECIDED = {"split": "", "component": "", "cluster": "", "duplicate_of": ""}
"""What the set says of heads that stages refused."""


@dataclass(slots=True)
class Decision:
    """What the set makes of one head."""

    work_key: str
    position: int
    """Place among the heads of its file."""
    status: str
    reason: str
    detail: str
    split: str = ""
    component: str = ""
    cluster: str = ""
    duplicate_of: str = ""
    view_bin: int | None = None
    weight: float | None = None

    def columns(self) -> dict[str, Any]:
        """Return the manifest columns that the set decides."""
        columns = {"status": self.status, "split": self.split, "component": self.component}
        if self.duplicate_of:
            columns.update(reason=self.reason, detail=self.detail, stage="whole set")
        return {
            **columns,
            "cluster": self.cluster,
            "duplicate_of": self.duplicate_of,
            "view_bin": self.view_bin,
            "weight": self.weight,
        }


@dataclass(frozen=True)
class Decisions:
    """What the set makes of its heads, and those that stages refused, of which it makes nothing."""

    rows: dict[str, Decision]
    """The heads that stages kept by id, in order of ids."""
    scores: frozenset[str] = frozenset()
    notes: frozenset[str] = frozenset()
    pages: tuple[Page, ...] = ()
    """All heads in order of ids."""

    def schema(self) -> pa.Schema:
        """Return the manifest's schema."""
        return schema_for(self.scores, self.notes)

    def fingerprint(self) -> str:
        """Return a hash of all heads and decisions."""
        digest = hashlib.sha256(repr((sorted(self.scores), sorted(self.notes))).encode())
        values = operator.attrgetter(*(field.name for field in dataclasses.fields(Decision)))
        for id, row in self.rows.items():
            digest.update(f"{id}{values(row)!r}".encode())
        for page in self.pages:
            digest.update(page.digest.encode())
        return digest.hexdigest()

    def refused(self, reason: str = "", most: int | None = None) -> Iterator[tuple[str, Decision]]:
        """Yield id and decision of heads that stages refused, by id.

        Args:
            reason: that they were refused for; empty for any.
            most: maximum number of them.
        """
        found = (item for page in self.pages for item in page.refused(reason))
        return ((item[0], Decision(*item[1:])) for item in itertools.islice(found, most))

    def statuses(self) -> Counter[str]:
        """Return the number of heads by status."""
        counts = Counter(row.status for row in self.rows.values())
        for page in self.pages:
            counts.update(status for status in page.statuses if status != "kept")
        return counts

    def reasons(self) -> Counter[str]:
        """Return the number of heads by the reason that they were refused for."""
        counts = Counter(row.reason for row in self.rows.values() if row.reason)
        for page in self.pages:
            counts.update(page.reasons())
        return counts

    def tables(self, placed: Mapping[str, Place], chain: str) -> Iterator[pa.Table]:
        """Yield the manifest in pages of rows, by id.

        Args:
            placed: where the samples of kept heads lie.
            chain: key of the stages in the header.
        """
        schema = self.schema()
        for page in self.pages:
            changes: dict[str, dict[int, Any]] = defaultdict(dict)
            for place, id in enumerate(page.ids):
                told: dict[str, Any] = dict(rights_of(page.rights[place])) if page.rights[place] else {}
                if id in self.rows:
                    told |= self.rows[id].columns()
                if id in placed:
                    told |= dict(zip(_PLACE, placed[id], strict=True))
                for name, value in told.items():
                    changes[name][place] = value
            yield page.with_columns({"synthetic": False, "chain": chain, **_UNDECIDED}, changes, schema)

    def files(self, otherwise: Iterable[str] = ()) -> Iterator[tuple[str, str, str, str]]:
        """Yield (outcome, reason, detail, work key) of files: kept where any head is, else the first refusal.

        Files of one head that a stage refused are left out: they are what that stage made of them.

        Args:
            otherwise: work keys of files that are none the less wanted.
        """
        best: dict[str, Decision] = {}
        rank = {"kept": 0, "failed": 1, "dropped": 2}
        wanted = {*otherwise, *(row.work_key for row in self.rows.values())}.union(
            *(page.later_work_keys() for page in self.pages)
        )
        others = (Decision(*item[1:]) for page in self.pages for item in page.refused_of(wanted))
        for row in itertools.chain(self.rows.values(), others):
            known = best.get(row.work_key)
            if known is None or (rank[row.status], row.position) < (rank[known.status], known.position):
                best[row.work_key] = row
        for work_key, row in best.items():
            yield (row.status, row.reason, row.detail, work_key)


@dataclass
class _Columns:
    """What the decisions need to know of each kept head; lists of one length."""

    ids: list[str] = dataclasses.field(default_factory=list)
    sha256: list[str] = dataclasses.field(default_factory=list)
    parents: list[str] = dataclasses.field(default_factory=list)
    pixels: list[str] = dataclasses.field(default_factory=list)
    phash: list[str] = dataclasses.field(default_factory=list)
    phash_mirror: list[str] = dataclasses.field(default_factory=list)
    quality: list[float] = dataclasses.field(default_factory=list)
    identity: list[str] = dataclasses.field(default_factory=list)
    group: list[str] = dataclasses.field(default_factory=list)
    yaw: list[float] = dataclasses.field(default_factory=list)
    pitch: list[float] = dataclasses.field(default_factory=list)

    def add(self, row: dict[str, Any], rights: dict[str, str]) -> None:
        notes, scores = row.get("notes", {}), row.get("scores", {})
        self.ids.append(row["id"])
        self.sha256.append(row["sha256"])
        self.parents.append(row.get("parent", ""))
        self.pixels.append(row.get("pixel_sha256", ""))
        # rendered heads are drawn apart: those that look alike are people of one hair style, seen from one side
        hashes = ("", "") if row.get("synthetic") else (notes.get("phash", ""), notes.get("phash_mirror", ""))
        self.phash.append(hashes[0])
        self.phash_mirror.append(hashes[1])
        self.quality.append(scores.get(QUALITY_SCORE, scores.get("head_px", 0.0)))
        self.identity.append(rights.get("identity", ""))
        self.group.append(rights.get("group", ""))
        self.yaw.append(row.get("yaw_degrees", math.nan))
        self.pitch.append(row.get("pitch_degrees", math.nan))


def decide(state: State, recipe: Recipe) -> Decisions:
    """Decide over every head whose content was chosen, in order of ids; which file is read first never matters."""
    rows: dict[str, Decision] = {}
    columns = _Columns()
    reader = RowReader()
    pages = []
    for page in reader.pages(state):
        pages.append(page)
        for place, text in page.kept.items():
            row = json.loads(text)
            told = row["head_index"], "kept", row.get("reason", ""), row.get("detail", "")
            rows[page.ids[place]] = Decision(page.work_keys[place], *told)
            columns.add(row, rights_of(page.rights[place]))
    _decide_duplicates(rows, columns, recipe)
    _decide_splits(rows, columns, recipe)
    _decide_views(rows, columns, recipe)
    return Decisions(rows, frozenset(reader.names["scores"]), frozenset(reader.names["notes"]), tuple(pages))


def _decide_duplicates(rows: dict[str, Decision], columns: _Columns, recipe: Recipe) -> None:
    """Refuse all but the best of each cluster of pictures that are equal or look alike."""
    equal = find_equal(columns.ids, columns.pixels, columns.quality)
    near = find_near(columns.ids, columns.phash, columns.phash_mirror, columns.quality, columns.parents, recipe.duplicates)
    for index, id in enumerate(columns.ids):
        row = rows[id]
        row.cluster = near.cluster[index] or equal.cluster[index]
        for found, reason in ((near, "near_duplicate"), (equal, "pixel_duplicate")):
            if not found.kept[index] and row.status == "kept":
                row.status, row.reason = "dropped", reason
                row.duplicate_of = found.duplicate_of[index]
                row.detail = f"gives way to {row.duplicate_of}"


def _decide_splits(rows: dict[str, Decision], columns: _Columns, recipe: Recipe) -> None:
    clusters = [rows[id].cluster for id in columns.ids]
    links = Links(columns.ids, columns.identity, columns.group, columns.sha256, clusters, columns.parents)
    splits = assign_splits(links, recipe.splits)
    for index, id in enumerate(columns.ids):
        rows[id].component, rows[id].split = splits.component[index], splits.split[index]


def _decide_views(rows: dict[str, Decision], columns: _Columns, recipe: Recipe) -> None:
    """Give each kept head with a camera its view bin, and a weight among those of its split."""
    yaw, pitch = np.radians(columns.yaw), np.radians(columns.pitch)
    for split in sorted({rows[id].split for id in columns.ids}):
        members = [
            index
            for index, id in enumerate(columns.ids)
            if rows[id].split == split and rows[id].status == "kept" and math.isfinite(columns.yaw[index])
        ]
        balance = balance_views(yaw[members], pitch[members], recipe.balance)
        for place, index in enumerate(members):
            row = rows[columns.ids[index]]
            row.view_bin, row.weight = int(balance.bins[place]), round(float(balance.weights[place]), 9)
