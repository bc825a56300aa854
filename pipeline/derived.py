"""Sources whose files depend on what was kept of the others: what they are told, and how it is read from a build's memory.

They are listed in a second pass, once everything else is worked on. What they make of it is theirs; see `synthetic.back_view`.
"""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..datasets.codec import IMAGE_SUFFIXES
from ..datasets.sample import SourceImage
from ..datasets.sources import Refused, Source
from .cache import StageCache
from .packing import unpack
from .recipe import Recipe
from .state import State
from .synthetic.looks import Look, look_of
from .whole_set import decide


@dataclass(frozen=True)
class KeptHead:
    """What a derived source may know of a head that the set keeps."""

    id: str
    yaw: float
    """Azimuth of the camera in radians."""
    pitch: float
    """Elevation of the camera in radians."""
    look: Look | None
    """Colours of a photographed person; None where the head is rendered or nothing tells its skin from its hair."""


class DerivedSource(Source):
    """A source that is listed after all others are worked on."""

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name no file: there are none before the others are known."""
        return iter(())

    @abstractmethod
    def derived(self, kept: Sequence[KeptHead], recipe: Recipe) -> Iterator[SourceImage | Refused]:
        """Name the files that follow from what was kept, in a stable order.

        Args:
            kept: heads with a camera, by id.
            recipe: the build's.
        """


def kept_heads(state: State, recipe: Recipe, cache: StageCache) -> list[KeptHead]:
    """Return the heads with a camera that the set keeps of the inputs worked on so far, by id.

    Colours are measured once and remembered.
    """
    state.choose()
    decisions = decide(state, recipe)
    key = recipe.keys()[-1]
    found = []
    state.begin()
    for id, work_key, status, text, _ in list(state.heads()):
        decision = decisions.rows[id]
        if status != "kept" or decision.status != "kept" or decision.work_key != work_key:
            continue
        row = json.loads(text)
        if "yaw_degrees" not in row:
            continue
        look = None if row.get("synthetic") else _look(state, cache, work_key, id, key)
        found.append(KeptHead(id, math.radians(row["yaw_degrees"]), math.radians(row["pitch_degrees"]), look))
    state.commit()
    return found


def _look(state: State, cache: StageCache, work_key: str, id: str, key: str) -> Look | None:
    """Return a head's colours from the build's memory, or from its finished picture and class map."""
    known = state.look(work_key, id, key)
    if known is None:
        payload = cache.read(work_key, key)
        members = unpack(payload)["members"].get(id, {}) if payload is not None else {}
        picture = next((members[suffix] for suffix in IMAGE_SUFFIXES if suffix in members), None)
        look = look_of(picture, members["seg.png"]) if picture is not None and "seg.png" in members else None
        known = look.to_text() if look is not None else ""
        state.set_look(work_key, id, key, known)
    return Look.from_text(known) if known else None
