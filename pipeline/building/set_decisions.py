"""What only all heads together can decide: duplicates, splits, view bins and weights.

The decisions are pure functions in `curation`; this module brings their columns together from the build's memory.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...manifests.schema import schema_for
from ..curation.balance import balance_views
from ..curation.duplicates import find_equal, find_near
from ..curation.splits import Links, assign_splits
from ..recipe import Recipe
from .memory.state import State

QUALITY_SCORE = "quality"
"""Score by which the best of a cluster of duplicates is chosen."""


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
    """Every head of the set by id, in order of ids."""

    rows: dict[str, Decision]
    scores: frozenset[str]
    notes: frozenset[str]

    def schema(self) -> pa.Schema:
        """Return the manifest's schema."""
        return schema_for(self.scores, self.notes)

    def fingerprint(self) -> str:
        """Return a hash of all decisions."""
        digest = hashlib.sha256(repr((sorted(self.scores), sorted(self.notes))).encode())
        values = operator.attrgetter(*(field.name for field in dataclasses.fields(Decision)))
        for id, row in self.rows.items():
            digest.update(f"{id}{values(row)!r}".encode())
        return digest.hexdigest()

    def files(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (outcome, reason, detail, work key) of every file: kept where any head is, else its first refusal."""
        best: dict[str, Decision] = {}
        rank = {"kept": 0, "failed": 1, "dropped": 2}
        for row in self.rows.values():
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
    scores: set[str] = set()
    notes: set[str] = set()
    for id, work_key, status, text, rights in state.heads():
        if id in rows:  # two contents claim one id: the smaller work key came first
            continue
        row = json.loads(text)
        rows[id] = Decision(work_key, row["head_index"], status, row.get("reason", ""), row.get("detail", ""))
        scores.update(row.get("scores", {}))
        notes.update(row.get("notes", {}))
        if status == "kept":
            columns.add(row, json.loads(rights) if rights else {})
    _decide_duplicates(rows, columns, recipe)
    _decide_splits(rows, columns, recipe)
    _decide_views(rows, columns, recipe)
    return Decisions(rows, frozenset(scores), frozenset(notes))


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
