"""Small pictures of what was refused, the first by id for each reason: for the eye of whoever looks at a data set.

Pointers to the files themselves are in the origins table.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.reasons import REASONS
from ...manifests import store
from ..execution.cache import StageCache
from ..recipe import Recipe
from .folder import QUARANTINE
from .memory.state import State
from .set_decisions import Decision, Decisions
from .shard_plan import CacheLost, members_of

MOST = 200
"""Pictures kept for each reason."""
_FACT = "quarantine"
_NAME = re.compile(r"([a-z_]+)/[0-9a-f]{16}\.jpg")


def wanted_pictures(decisions: Decisions) -> list[tuple[str, Decision]]:
    """Return id and decision of the refused heads that have a picture, by id."""
    wanted: list[tuple[str, Decision]] = []
    for reason in decisions.reasons():
        by_set = ((id, row) for id, row in decisions.rows.items() if row.reason == reason)
        wanted += itertools.islice(heapq.merge(decisions.refused(reason, MOST), by_set, key=lambda item: item[0]), MOST)
    return sorted(wanted, key=lambda item: item[0])


class Quarantine:
    """The pictures of one data set."""

    def __init__(self, out: Path, state: State, cache: StageCache, recipe: Recipe, check: Callable[[], None]) -> None:
        """Prepare to write.

        Args:
            out: the data set.
            state: its memory, which names the pictures that were written.
            cache: where pictures come from.
            recipe: resolved.
            check: called between pictures; may raise to stop.
        """
        self._out, self._state, self._cache, self._check = out, state, cache, check
        keys = recipe.keys()
        self._final_key = keys[-1]
        self._stage_keys = {stage.name: key for stage, key in zip(recipe.stages, keys[1:-1], strict=True)}

    def collect(self, decisions: Decisions) -> dict[str, bytes]:
        """Return the pictures to be, by name such as "no_head/0123456789abcdef.jpg".

        Raises:
            CacheLost: pictures that were made are missing from the cache.
        """
        pictures: dict[str, bytes] = {}
        lost: list[str] = []
        for id, decision in wanted_pictures(decisions):
            self._check()
            picture = self._picture(id, decision.work_key, decision.status)
            if picture is None:
                lost.append(decision.work_key)
                self._cache.remove(decision.work_key)  # a refusal that is restored from the cache makes no picture
            elif picture:
                pictures[f"{decision.reason}/{id}.jpg"] = picture
        if lost:
            raise CacheLost.of(sorted(set(lost)))
        return pictures

    def _picture(self, id: str, work_key: str, status: str) -> bytes | None:
        """Return a refused head's picture, empty where it has none, None where it was lost."""
        head_status, stage = self._state.refused_by(work_key, id)
        if head_status == "kept":  # refused by the whole set: its picture is the one that it would have had
            members = members_of(self._cache, work_key, self._final_key).get(id)
            return None if members is None else members.get("jpg", b"")
        if stage not in self._stage_keys:
            return b""
        picture = self._cache.thumb(id, self._stage_keys[stage])
        return b"" if picture is None and status == "failed" else picture

    def write(self, pictures: dict[str, bytes]) -> None:
        """Write the pictures that are not there, and remove those that this program wrote and that are wanted no more."""
        folder = self._out / QUARANTINE
        before = self._named()
        self._state.set_fact(_FACT, json.dumps(sorted(before | set(pictures))))
        for name, picture in sorted(pictures.items()):
            self._check()
            path = folder / name
            if not path.is_file() or path.read_bytes() != picture:
                store.write_bytes(path, picture)
        for name in sorted(before - set(pictures)):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                (folder / name).unlink()
        for reason in sorted({name.partition("/")[0] for name in before}):
            with contextlib.suppress(OSError):
                (folder / reason).rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()
        self._state.set_fact(_FACT, json.dumps(sorted(pictures)))
        self._cache.keep_thumbs(name[-20:-4] for name in pictures)

    def _named(self) -> set[str]:
        """Return the names of pictures that the build's memory speaks of, or without one, the rows of the finished set."""
        fact = self._state.fact(_FACT)
        if fact:
            return {name for name in json.loads(fact) if _NAME.fullmatch(name)}
        try:
            rows = pq.read_table(self._out / store.MANIFEST, columns=["id", "reason"]).to_pylist()
        except (OSError, pa.ArrowInvalid, KeyError):
            return set()
        names = {f"{row['reason']}/{row['id']}.jpg" for row in rows if row["reason"] in REASONS}
        return {name for name in names if _NAME.fullmatch(name)}
