"""Heads beside others: what the finder doubts is left out of a portrait and kept in a crowd."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from spherehead.pipeline.annotators.heads.any_side import AnySideHeads, head_of
from spherehead.pipeline.annotators.heads.finder import FoundHead
from spherehead.pipeline.stages.detect import Detect

FIRST, SECOND = (150.0, 20.0, 150.0, 190.0), (350.0, 300.0, 120.0, 150.0)


def own(faces: str) -> AnySideHeads:
    found = Detect(faces=faces).open().own  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize(("score", "confidence", "crowd", "portrait"), [
    (0.50, 0.9, False, False), (0.60, 0.1, False, False), (0.60, 0.9, True, False), (0.70, 0.1, False, False),
    (0.70, 0.9, True, True),
])  # fmt: skip
def test_a_doubtful_head_beside_a_sure_one_is_kept_in_crowds_only(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, score: float, confidence: float, crowd: bool, portrait: bool
) -> None:
    """With the reading of the astronaut's face for both, but for its confidence."""
    for faces, kept in (("all", crowd), ("largest", portrait)):
        heads = own(faces)
        reading = heads.reader.settle(astronaut, FIRST)
        known = head_of(reading, FIRST, 0.9)
        doubtful = replace(reading, centre=np.array([410.0, 375.0]))
        monkeypatch.setattr(type(doubtful), "confidence", property(lambda _: confidence))
        monkeypatch.setattr(heads.finder, "find", lambda *_, score=score: [FoundHead(SECOND, score)])
        monkeypatch.setattr(heads.reader, "settle", lambda *_, doubtful=doubtful: doubtful)
        monkeypatch.setattr(heads, "_checked", lambda pixels, head: head)
        found = heads.join(astronaut, astronaut, 1, [known], faces == "all")
        monkeypatch.undo()
        assert (len(found) == 2) == kept
