"""What a derived source is told of the heads that a build keeps, read from the build's memory.

What such a source makes of it is its own; see `synthetic.back_view`.
"""

from __future__ import annotations

import json
import math

from ...datasets.shards.codec import IMAGE_SUFFIXES
from ..execution.cache import StageCache
from ..recipe import Recipe
from ..synthetic.derived_source import KeptHead
from ..synthetic.people.appearance import Appearance, appearance_of
from .memory.state import State
from .set_decisions import decide
from .shard_plan import CacheLost, members_of


def kept_heads(state: State, recipe: Recipe, cache: StageCache, lost: list[str]) -> list[KeptHead]:
    """Return the heads with a camera that the set keeps of the inputs worked on so far, by id.

    Colours are measured once and remembered.

    Args:
        state: the build's memory.
        recipe: resolved.
        cache: the stage cache.
        lost: takes the work keys of heads that are left out, because their pictures are gone from the cache.
    """
    state.choose()
    decisions = decide(state, recipe)
    key = recipe.keys()[-1]
    found = []
    state.begin()
    for id, work_key, _, text, _ in list(state.heads("kept")):
        decision = decisions.rows.get(id)
        if decision is None or decision.status != "kept" or decision.work_key != work_key:
            continue
        row = json.loads(text)
        if "yaw_degrees" not in row:
            continue
        try:
            appearance = None if row.get("synthetic") else _appearance(state, cache, work_key, id, key)
        except CacheLost as error:
            lost += error.work_keys
            continue
        found.append(KeptHead(id, math.radians(row["yaw_degrees"]), math.radians(row["pitch_degrees"]), appearance))
    state.commit()
    return found


def _appearance(state: State, cache: StageCache, work_key: str, id: str, key: str) -> Appearance | None:
    """Return a head's colours from the build's memory, or from its finished picture and class map."""
    known = state.appearance(work_key, id, key)
    if known is None:
        members = members_of(cache, work_key, key).get(id)
        if members is None:
            raise CacheLost.of([work_key])
        picture = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)
        appearance = appearance_of(picture, members["seg.png"]) if picture is not None and "seg.png" in members else None
        known = appearance.to_text() if appearance is not None else ""
        state.set_appearance(work_key, id, key, known)
    return Appearance.from_text(known) if known else None
