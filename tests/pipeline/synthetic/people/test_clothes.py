"""Clothes on people: their outlines are round, not those of the coarse meshes that they are made of."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.parts import Part
from spherehead.pipeline.synthetic.people.population import draw_person


def corners(part: Part) -> np.ndarray:
    """Degrees by which the open edges of a mesh turn at their vertices around the neck."""
    places, of = np.unique(np.round(part.points, 6), axis=0, return_inverse=True)
    edges = np.sort(of[part.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)], axis=1)
    single, count = np.unique(edges, axis=0, return_counts=True)
    single = single[count == 1]
    found = []
    for vertex in np.unique(single):
        rows = single[(single == vertex).any(axis=1)]
        if len(rows) != 2 or abs(places[vertex, 0]) > 0.25 or places[vertex, 1] < -0.62:
            continue
        before, after = (places[row[row != vertex][0]] - places[vertex] for row in rows)
        cosine = -(before @ after) / np.linalg.norm(before) / np.linalg.norm(after)
        found.append(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return np.array(found)


@pytest.mark.parametrize("head", [0, 2, 3])
def test_necklines_turn_gently(makehuman: Assets, head: int) -> None:
    """Refining halves the turns of an outline: 80 of 100 vertices turn it by less than 16 degrees, 33 as the meshes are."""
    person = dataclasses.replace(draw_person(makehuman, 3, head), expression={})
    cloth = next(part for part in build_figure(makehuman, person).parts if part.name == "cloth")
    turned = corners(cloth)
    assert len(turned) >= 40
    assert np.quantile(turned, 0.8) < 16.0 and np.median(turned) < 10.0
