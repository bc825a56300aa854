"""People ready to be photographed many times: meshes, surfaces, and the vertices that bound their heads, made once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.classes import INDEX
from ..assets.library import Assets
from ..people.figure import Figure, build_figure
from ..people.population import Person
from ..rendering.exact_pass import Drawing
from ..shading.surfaces import Surfaces, surfaces_of
from .torso import coat_of

BOUND = 0.45
"""World units from the head frame's origin up to which hair counts to the head's box; 20 cm."""
BELOW = tuple(INDEX[name] for name in ("background", "neck", "necklace", "cloth"))
"""Classes that do not count to a head."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Sitter:
    """A person who can be photographed."""

    name: str
    drawing: Drawing
    surfaces: Surfaces
    face_points: Floats
    """(478, 3)."""
    head: Array
    """Indices of the vertices that bound the head with hair and hat."""
    skull: Array
    """Indices of those that bound it without."""


def sitter_of(assets: Assets, person: Person) -> Sitter:
    """Make a person ready.

    Raises:
        AssetError: one of the assets is damaged or missing.
    """
    figure = build_figure(assets, person)
    figure = dataclasses.replace(figure, parts=(*figure.parts, coat_of(figure)))
    drawing = Drawing(figure)
    head, skull = _bounds(figure, drawing)
    return Sitter(person.name, drawing, surfaces_of(drawing), figure.face_points, head, skull)


def _bounds(figure: Figure, drawing: Drawing) -> tuple[Array, Array]:
    """Return the vertices that bound the head with hair, and those of the bare head above the jaw line."""
    near = np.linalg.norm(drawing.points, axis=1) < BOUND
    above = np.concatenate([_above_jaw(part.fields, len(part.points)) for part in figure.parts])
    of_head = ~np.isin(drawing.labels, BELOW)
    used = np.zeros(len(drawing.points), dtype=bool)
    used[drawing.faces[of_head & ~drawing.see_through]] = True
    used[drawing.faces[of_head][drawing.opacities[drawing.face_uvs[of_head]] > 127]] = True
    names = np.repeat([part.name for part in figure.parts], [len(part.points) for part in figure.parts])
    bare = used & above & np.isin(names, ("head", "bust"))
    return np.flatnonzero(used & above & near), np.flatnonzero(bare & near)


def _above_jaw(fields: Floats | None, count: int) -> Array:
    return np.full(count, True) if fields is None else fields[:, 0] <= 0.0


def box_of(image: Floats, depth: Floats) -> Box:
    """Return x, y, width and height of the smallest box around (N, 2) projected points that lie before the camera."""
    before = depth > 0.02
    x, y = image[before, 0], image[before, 1]
    return float(x.min()), float(y.min()), float(np.ptp(x)), float(np.ptp(y))
