"""Heads beside others: what finder and reader both doubt is none, and a larger one than a known face is looked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from spherehead.pipeline.annotators.heads.any_side import AnySideHeads, head_of
from spherehead.pipeline.annotators.heads.finder import SIDES, FoundHead
from spherehead.pipeline.stages.detect import Detect

FIRST, SECOND = (150.0, 20.0, 150.0, 190.0), (350.0, 300.0, 120.0, 150.0)


def own() -> AnySideHeads:
    found = Detect().open().own
    assert found is not None
    return found


@pytest.mark.parametrize(("score", "confidence", "growth", "kept"), [
    (0.50, 0.9, 1.0, False), (0.60, 0.1, 1.0, False), (0.60, 0.9, 1.0, True), (0.70, 0.1, 1.0, False), (0.70, 0.9, 1.0, True),
    (0.70, 0.1, 1.6, True), (0.60, 0.1, 1.6, False), (0.70, 0.02, 1.6, False),
])  # fmt: skip
def test_a_head_beside_another_is_kept_where_the_reader_is_sure_or_where_the_finder_is_and_it_is_larger(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, score: float, confidence: float, growth: float, kept: bool
) -> None:
    """With the reading of the astronaut's face for both, but for its confidence."""
    heads = own()
    reading = heads.reader.settle(astronaut, FIRST)
    known = head_of(reading, FIRST, 0.9)
    box = (*SECOND[:2], growth * SECOND[2], growth * SECOND[3])
    doubtful = replace(reading, centre=np.array([410.0, 375.0]))
    monkeypatch.setattr(type(doubtful), "confidence", property(lambda _: confidence))
    monkeypatch.setattr(heads.finder, "find", lambda *_: [FoundHead(box, score)])
    monkeypatch.setattr(heads.reader, "settle", lambda *_: doubtful)
    monkeypatch.setattr(heads, "_checked", lambda pixels, head: head)
    assert (len(heads.join(astronaut, astronaut, 1, [known])) == 2) == kept


@pytest.mark.parametrize(("growth", "sides"), [(1.2, [SIDES[:1], SIDES]), (0.5, [SIDES[:1]])])
def test_a_finer_copy_is_looked_at_where_something_may_be_larger_than_the_known_face(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch, growth: float, sides: list[tuple[int, ...]]
) -> None:
    """A client's back before the hairdresser's face: in the coarsest copy alone the finder may doubt it."""
    detect, looked, picture = Detect().open(), list[tuple[int, ...]](), np.ascontiguousarray(astronaut[:320, 70:390])
    (known,) = detect.heads(picture)
    assert known.mesh is not None and detect.own is not None
    other = FoundHead((250.0, 220.0, growth * known.box[2], growth * known.box[3]), 0.5)

    def find(image: np.ndarray, sides: tuple[int, ...], least: float) -> list[FoundHead]:
        looked.append(sides)
        return [other]

    monkeypatch.setattr(detect.own.finder, "find", find)
    detect.own.join(picture, picture, 1, [known])
    assert looked == sides
