"""People ready to be photographed many times: meshes, surfaces, and the vertices that bound their heads, made once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from ....datasets.arrays import Array, Floats
from ....datasets.camera import Camera
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
    whole: Floats
    """(N, 3) points whose projections bound all of the person before a camera: corners of the convex hull."""
    head: Floats
    """The same of the head with hair and hat."""
    skull: Floats
    """The same of the bare head."""


def sitter_of(assets: Assets, person: Person) -> Sitter:
    """Make a person ready.

    Raises:
        AssetError: one of the assets is damaged or missing.
    """
    figure = build_figure(assets, person)
    figure = dataclasses.replace(figure, parts=(*figure.parts, coat_of(figure)))
    drawing = Drawing(figure)
    head, skull = _bounds(figure, drawing)
    whole = _corners(np.vstack([drawing.points, drawing.strands.points]))
    return Sitter(person.name, drawing, surfaces_of(drawing), figure.face_points, whole, head, skull)


def _corners(points: Floats) -> Floats:
    """Return the corners of the convex hull of (N, 3) points."""
    return np.asarray(points[np.sort(ConvexHull(points).vertices)], dtype=np.float64)


def _bounds(figure: Figure, drawing: Drawing) -> tuple[Floats, Floats]:
    """Return the points that bound the head with hair, and those of the bare head above the jaw line."""
    near = np.linalg.norm(drawing.points, axis=1) < BOUND
    above = np.concatenate([_above_jaw(part.fields, len(part.points)) for part in figure.parts])
    of_head = ~np.isin(drawing.labels, BELOW)
    used = np.zeros(len(drawing.points), dtype=bool)
    used[drawing.faces[of_head & ~drawing.see_through]] = True
    used[drawing.faces[of_head][drawing.opacities[drawing.face_uvs[of_head]] > 127]] = True
    names = np.repeat([part.name for part in figure.parts], [len(part.points) for part in figure.parts])
    bare = used & above & np.isin(names, ("head", "scalp", "bust"))
    strands = drawing.strands.points[np.linalg.norm(drawing.strands.points, axis=1) < BOUND]
    return _corners(np.vstack([drawing.points[used & above & near], strands])), _corners(drawing.points[bare & near])


def _above_jaw(fields: Floats | None, count: int) -> Array:
    return np.full(count, True) if fields is None else fields[:, 0] <= 0.0


def box_of(points: Floats, camera: Camera, size: int) -> Box:
    """Return x, y, width and height in pixels of the smallest box around (N, 3) points; all must lie before the camera."""
    image, _ = camera.project(points)
    (left, top), (right, bottom) = image.min(axis=0) * size, image.max(axis=0) * size
    return float(left), float(top), float(right - left), float(bottom - top)
