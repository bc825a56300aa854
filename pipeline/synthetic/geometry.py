"""The exact pass: what each pixel of a figure is - class, coverage, depth, normal - from its meshes, without any light.

Colours are `render`'s and `preview`'s business. Labels are drawn at a multiple of the size and reduced, so that coverage is
soft at edges and between strands of hair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...datasets.arrays import Array, Floats, Pixels
from ...datasets.camera import Camera
from ...datasets.classes import INDEX
from .figure import Drawable, Part
from .paint import srgb_to_linear
from .raster import AlphaMaps, Buffers, compiled_vote, rasterise


class Drawing:
    """A figure's meshes end to end, ready to be seen from any side."""

    def __init__(self, figure: Drawable, with_clear: bool = True) -> None:
        """Lay the parts of a figure end to end, with or without those that are in the class map but not to be seen."""
        self.parts = tuple(part for part in figure.parts if with_clear or not part.is_clear)
        starts = np.cumsum([0, *(len(part.points) for part in self.parts)])
        uv_starts = np.cumsum([0, *(len(part.uvs) for part in self.parts)])
        self.points = np.vstack([part.points for part in self.parts])
        self.normals = np.vstack([part.normals for part in self.parts])
        self.uvs = np.vstack([part.uvs for part in self.parts])
        self.faces = np.vstack([part.faces + start for part, start in zip(self.parts, starts, strict=False)]).astype(np.int32)
        self.face_uvs = np.vstack([part.face_uvs + start for part, start in zip(self.parts, uv_starts, strict=False)])
        self.labels = np.concatenate([part.labels for part in self.parts])
        self.part_of = np.concatenate([np.full(len(part.faces), k) for k, part in enumerate(self.parts)]).astype(np.int32)
        self.alpha = _alpha_maps(self.parts)

    def see(self, camera: Camera, size: int) -> Buffers:
        """Rasterise from a camera."""
        return rasterise(self.points, self.faces, self.uvs, self.face_uvs, self.alpha, camera, size)

    @cached_property
    def _fields(self) -> Floats:
        width = max((part.fields.shape[1] for part in self.parts if part.fields is not None), default=1)
        return np.vstack([np.full((len(p.points), width), -1.0) if p.fields is None else p.fields for p in self.parts])

    def colours(self, seen: Buffers) -> Array:
        """Return the (S, S, 3) float32 linear texture colour of what is seen, from the nearest texel; zero where nothing is."""
        colour = np.zeros((*seen.face.shape, 3), dtype=np.float32)
        part_of = np.where(seen.face >= 0, self.part_of[seen.face], -1)
        for index, part in enumerate(self.parts):
            here = part_of == index
            if not here.any():
                continue
            corners = self.uvs[self.face_uvs[seen.face[here]]]
            second, third = seen.bary[here][:, 0:1], seen.bary[here][:, 1:2]
            uv = corners[:, 0] * (1.0 - second - third) + corners[:, 1] * second + corners[:, 2] * third
            height, width = part.texture.shape[:2]
            x = np.clip(uv[:, 0] * width, 0, width - 1).astype(np.int64)
            y = np.clip(uv[:, 1] * height, 0, height - 1).astype(np.int64)
            colour[here] = _LINEAR[part.texture[y, x, :3]]
        return colour

    def classes(self, seen: Buffers) -> Pixels:
        """Return the (S, S) class of what is seen; background where there is nothing."""
        found = np.where(seen.face >= 0, self.labels[seen.face], INDEX["background"]).astype(np.uint8)
        skin = found == INDEX["skin"]
        corners = self.faces[seen.face[skin]]
        second, third = seen.bary[skin][:, 0:1], seen.bary[skin][:, 1:2]
        values = self._fields[corners]
        values = values[:, 0] * (1.0 - second - third) + values[:, 1] * second + values[:, 2] * third
        chosen = found[skin]
        labels = next((part.field_labels for part in self.parts if part.field_labels), ())
        for column, label in enumerate(labels):
            chosen[values[:, column] > 0] = label
        found[skin] = chosen
        return found


@dataclass(frozen=True, eq=False)
class View:
    """The exact labels of one picture."""

    parsing: Pixels
    """(S, S) class map."""
    mask: Pixels
    """(S, S) soft coverage, 0 to 255."""
    depth: Array
    """(S, S) float32 distance along the optical axis at the pixel's centre; infinity where there is nothing."""
    normals: Array
    """(S, S, 3) float32 unit normals in the head frame; zero where there is nothing."""
    albedo: Array | None = None
    """(S, S, 3) float32 linear colour of the surfaces, mean over what is seen in a pixel, where it was asked for."""


_LINEAR = srgb_to_linear(np.arange(256) / 255.0).astype(np.float32)


def look(drawing: Drawing, camera: Camera, size: int, supersampling: int = 3, with_albedo: bool = False) -> View:
    """Make the exact labels of a figure from a camera.

    Args:
        drawing: the figure's meshes.
        camera: who looks.
        size: side of the picture in pixels.
        supersampling: samples a pixel along each axis for class and coverage; odd, so that one lies at the centre.
        with_albedo: return the surfaces' colours too.
    """
    seen = drawing.see(camera, size * supersampling)
    fine = drawing.classes(seen)
    parsing = np.empty((size, size), dtype=np.uint8)
    coverage = 1.0 - seen.clear.reshape(size, supersampling, size, supersampling).mean(axis=(1, 3))
    mask = np.round(255.0 * np.clip(coverage, 0.0, 1.0)).astype(np.uint8)
    fine = np.where((fine == INDEX["background"]) & (seen.clear < 0.5), np.uint8(INDEX["hair"]), fine)
    compiled_vote()(np.where(seen.clear > 0.5, np.uint8(INDEX["background"]), fine), supersampling, parsing)
    parsing[mask < 128] = INDEX["background"]
    lost = (parsing == INDEX["background"]) & (mask >= 128)
    parsing[lost] = fine.reshape(size, supersampling, size, supersampling).max(axis=(1, 3))[lost]
    offset = supersampling // 2
    depth = seen.depth[offset::supersampling, offset::supersampling].copy()
    normals = _normals(drawing, seen, offset, supersampling)
    return View(parsing, mask, depth, normals, _albedo(drawing, seen, supersampling) if with_albedo else None)


def _albedo(drawing: Drawing, seen: Buffers, step: int) -> Array:
    size = seen.face.shape[0] // step
    cells = (size, step, size, step)
    total = drawing.colours(seen).reshape(*cells, 3).sum(axis=(1, 3))
    count = (seen.face >= 0).reshape(cells).sum(axis=(1, 3)).astype(np.float32)
    return np.asarray(total / np.maximum(count, 1.0)[..., None])


def _normals(drawing: Drawing, seen: Buffers, offset: int, step: int) -> Array:
    some = Buffers(seen.face[offset::step, offset::step], seen.bary[offset::step, offset::step], seen.depth, seen.clear)
    normals = some.blend(drawing.normals, drawing.faces)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-12), 0.0).astype(np.float32)


def _alpha_maps(parts: tuple[Part, ...]) -> AlphaMaps:
    pieces: list[Array] = []
    places: list[tuple[int, int, int]] = []
    of_face: list[Array] = []
    seen_from: list[float] = []
    start = 0
    for part in parts:
        if part.is_opaque:
            of_face.append(np.full(len(part.faces), -1, dtype=np.int32))
            continue
        opacity = part.texture[..., 3]
        of_face.append(np.full(len(part.faces), len(places), dtype=np.int32))
        places.append((start, opacity.shape[0], opacity.shape[1]))
        seen_from.append(part.seen_from)
        pieces.append(opacity.ravel())
        start += opacity.size
    return AlphaMaps(
        np.concatenate(pieces) if pieces else np.zeros(1, dtype=np.uint8),
        np.array(places, dtype=np.int64).reshape(-1, 3),
        np.concatenate(of_face),
        np.array(seen_from, dtype=np.float64),
    )
