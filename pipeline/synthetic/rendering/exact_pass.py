"""The exact pass: what each pixel of a figure is - class, coverage, depth, normal - from its meshes, without any light.

Colours are `render`'s and `preview`'s business. Labels are drawn at a multiple of the size and reduced, so that coverage is
soft at edges and between strands of hair.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import Camera
from ....datasets.classes import INDEX
from ....datasets.compiled import compiled
from ....datasets.images.colour_space import srgb_to_linear
from ..hair.strands import KINDS, lay_end_to_end
from ..people.parts import BEARDED_SKIN, Drawable, Part
from .exposure import window_of
from .raster import AlphaMaps, Buffers, rasterise
from .ribbons import StrandBuffers, draw_strands, redraw_strands, reduce_with_strands

GROWTH = ("none", "hair", "beard", "brow")
"""What a second class map tells apart: beards, which are hair in the 19 classes, and brows."""

SUPERSAMPLING = 3
"""Samples a pixel along each axis for class, coverage and colour; odd, so that one lies at the centre."""


class Drawing:
    """A figure's meshes end to end, ready to be seen from any side."""

    def __init__(self, figure: Drawable) -> None:
        """Lay the parts of a figure end to end."""
        self.parts = figure.parts
        starts = np.cumsum([0, *(len(part.points) for part in self.parts)])
        uv_starts = np.cumsum([0, *(len(part.uvs) for part in self.parts)])
        self.points = np.vstack([part.points for part in self.parts])
        self.normals = np.vstack([part.normals for part in self.parts])
        self.uvs = np.vstack([part.uvs for part in self.parts])
        self.faces = np.vstack([part.faces + start for part, start in zip(self.parts, starts, strict=False)]).astype(np.int32)
        self.face_uvs = np.vstack([part.face_uvs + start for part, start in zip(self.parts, uv_starts, strict=False)])
        self.labels = np.concatenate([part.labels for part in self.parts])
        self.part_of = np.concatenate([np.full(len(part.faces), k) for k, part in enumerate(self.parts)]).astype(np.int32)
        self.strands = lay_end_to_end(figure.strands)
        self.alpha = _alpha_maps(self.parts)
        kinds = np.array([2 if part.is_clear else 0 if part.is_opaque else 1 for part in self.parts])[self.part_of]
        order = np.argsort(kinds, kind="stable")
        self._shown, self._clear = order[np.sort(kinds) < 2], order[np.sort(kinds) == 2]
        self.transparent = order[np.sort(kinds) == 1]
        """Faces whose texture is transparent in places."""

    @property
    def has_clear(self) -> bool:
        """Whether anything is in the class map but not to be seen, such as the glass of spectacles."""
        return len(self._clear) > 0

    def see(self, camera: Camera, size: int, with_clear: bool = True) -> Buffers:
        """Rasterise from a camera, with or without what is not to be seen, and draw the strands before the meshes."""
        seen = self._with_strands(self._rasterised(self._shown, camera, size, None), camera)
        return self.see_clear(seen, camera) if with_clear and self.has_clear else seen

    def see_clear(self, seen: Buffers, camera: Camera) -> Buffers:
        """Add what is not to be seen to what was seen without it, in place but for strands.

        Strands behind it give way to it in the class map; what they cover stays covered, as meshes behind it do.
        """
        drawn, before = seen.strands, seen.depth.copy()
        seen = self._rasterised(self._clear, camera, seen.face.shape[0], seen)
        changed = seen.depth != before
        window = window_of(changed, margin=0)
        if drawn is None or window is None:
            return seen
        strands = redraw_strands(self.strands, camera, seen.depth, drawn, window)
        behind = drawn.clear[changed] / np.maximum(strands.clear[changed], np.float32(1e-6))
        seen.clear[changed] *= np.minimum(behind, np.float32(1.0))
        return dataclasses.replace(seen, strands=strands)

    def _with_strands(self, seen: Buffers, camera: Camera) -> Buffers:
        if not len(self.strands):
            return seen
        return dataclasses.replace(seen, strands=draw_strands(self.strands, camera, seen.depth))

    def _rasterised(self, order: Array, camera: Camera, size: int, onto: Buffers | None) -> Buffers:
        return rasterise(self.points, self.faces, self.uvs, self.face_uvs, self.alpha, camera, size, order, onto)

    @cached_property
    def see_through(self) -> Array:
        """(F,) bool: faces that are more than half transparent at their middle."""
        return np.concatenate([_opacity(part, part.uvs[part.face_uvs].mean(axis=1)) < 128 for part in self.parts])

    @cached_property
    def opacities(self) -> Array:
        """(T,) uint8 opacity of the texture at each texture coordinate."""
        return np.concatenate([_opacity(part, part.uvs) for part in self.parts])

    @cached_property
    def _fields(self) -> Floats:
        width = max((part.fields.shape[1] for part in self.parts if part.fields is not None), default=1)
        return np.vstack([np.full((len(p.points), width), -1.0) if p.fields is None else p.fields for p in self.parts])

    @cached_property
    def textures(self) -> tuple[Array, Array]:
        """(N, 4) uint8 texels of all parts end to end, and (K, 3) int64 offset, height and width of each part's."""
        sizes = [part.texture.shape[:2] for part in self.parts]
        starts = np.cumsum([0, *(height * width for height, width in sizes)])[:-1]
        return np.concatenate([part.texture.reshape(-1, 4) for part in self.parts]), np.column_stack([starts, np.array(sizes)])

    def colours(self, seen: Buffers) -> Array:
        """Return the (S, S, 3) float32 linear texture colour of what is seen, from the nearest texel; zero where nothing is."""
        return self.mean_colours(seen, 1)

    def mean_colours(self, seen: Buffers, step: int) -> Array:
        """Return the (S / step, S / step, 3) float32 mean colour of what is seen in each step x step pixels."""
        size = seen.face.shape[0] // step
        colour = np.zeros((size, size, 3), dtype=np.float32)
        compiled(gather_colours)(
            seen.face, seen.bary, self.uvs, self.face_uvs, self.part_of, *self.textures, LINEAR, step, colour
        )
        return colour

    def classes(self, seen: Buffers, beards_apart: bool = False) -> Pixels:
        """Return the (S, S) class of what is seen, 0 where nothing is; skin of beards is hair, or `BEARDED_SKIN`."""
        found = np.empty(seen.face.shape, dtype=np.uint8)
        told = np.array(next((part.field_labels for part in self.parts if part.field_labels), ()), dtype=np.uint8)
        told = told if beards_apart else np.where(told == BEARDED_SKIN, np.uint8(INDEX["hair"]), told)
        compiled(tell_classes)(seen.face, seen.bary, self.faces, self.labels, self._fields, told, INDEX["skin"], found)
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
    growth: Pixels | None = None
    """(S, S) index in `GROWTH`: hair, beards and brows apart; None where the figure has no strands."""


LINEAR = srgb_to_linear(np.arange(256) / 255.0).astype(np.float32)


def look(drawing: Drawing, camera: Camera, size: int, supersampling: int = SUPERSAMPLING, with_albedo: bool = False) -> View:
    """Make the exact labels of a figure from a camera.

    Args:
        drawing: the figure's meshes.
        camera: who looks.
        size: side of the picture in pixels.
        supersampling: samples per pixel along each axis for class and coverage; odd, so that one lies at the centre.
        with_albedo: return the surfaces' colours too.
    """
    return labels_of(drawing, drawing.see(camera, size * supersampling), supersampling, with_albedo)


def look_with_guide(drawing: Drawing, camera: Camera, size: int, supersampling: int = SUPERSAMPLING) -> tuple[View, View]:
    """Make the exact labels as `look` does, and beside them those without what is not to be seen, with albedo.

    The second guides the cleaning of pictures, where glass that hides nothing must not count; one view may be both.
    """
    seen = drawing.see(camera, size * supersampling, with_clear=False)
    guide = labels_of(drawing, seen, supersampling, with_albedo=True)
    if not drawing.has_clear:
        return guide, guide
    return labels_of(drawing, drawing.see_clear(seen, camera), supersampling, with_albedo=False), guide


def labels_of(drawing: Drawing, seen: Buffers, step: int, with_albedo: bool = False) -> View:
    """Make the exact labels of what a camera saw `step` times as fine as the picture."""
    size, offset = seen.face.shape[0] // step, step // 2
    parsing, mask = np.empty((size, size), dtype=np.uint8), np.empty((size, size), dtype=np.uint8)
    depth = seen.depth[offset::step, offset::step].copy()
    normals = _normals(drawing, seen, offset, step)
    albedo = drawing.mean_colours(seen, step) if with_albedo else None
    strands = seen.strands
    if strands is None:
        compiled(reduce_labels)(drawing.classes(seen), seen.clear, step, INDEX["background"], INDEX["hair"], parsing, mask)
        return View(parsing, mask, depth, normals, albedo)
    growth = np.empty((size, size), dtype=np.uint8)
    names = [INDEX[name] for name in ("background", "hair", "left_brow", "right_brow")]
    compiled(reduce_with_strands)(
        drawing.classes(seen, beards_apart=True), seen.clear, strands.clear, strands.point, drawing.strands.strand_of,
        drawing.strands.labels, drawing.strands.kinds, step, np.array([*names, KINDS.index("beard"), BEARDED_SKIN]), parsing,
        mask, growth,
    )  # fmt: skip
    middle = strands.every(step)
    hairy = middle.clear < 0.5
    depth[hairy] = middle.depth[hairy]
    normals[hairy] = middle.normals(drawing.strands)[1][hairy]
    if albedo is not None:
        albedo = mix_colours(drawing, seen, strands, step)
    return View(parsing, mask, depth, normals, albedo, growth)


def mix_colours(drawing: Drawing, seen: Buffers, strands: StrandBuffers, step: int) -> Array:
    """Return the (S / step, S / step, 3) float32 mean linear colour of meshes and of strands before them."""
    size = seen.face.shape[0] // step
    covered = (1.0 - strands.clear)[..., None]
    there = np.maximum((seen.face >= 0)[..., None], covered)
    mixed = drawing.colours(seen) * (1.0 - covered) + strands.blend(drawing.strands.colours) * covered
    total, weight = (part.reshape(size, step, size, step, -1).sum(axis=(1, 3)) for part in (mixed, there))
    return np.asarray(total / np.maximum(weight, 1e-6), dtype=np.float32)


def tell_classes(face: Any, bary: Any, faces: Any, labels: Any, fields: Any, told: Any, skin: int, out: Any) -> None:
    """Write the class of every pixel into `out` (S, S): its face's, or for skin the last of `told` whose field is positive."""
    for row in range(face.shape[0]):
        for column in range(face.shape[1]):
            index = face[row, column]
            out[row, column] = 0 if index < 0 else labels[index]
            if index < 0 or labels[index] != skin:
                continue
            second, third = bary[row, column, 0], bary[row, column, 1]
            first = np.float32(1.0) - second - third
            a, b, c = faces[index, 0], faces[index, 1], faces[index, 2]
            for field in range(told.shape[0]):
                if fields[a, field] * first + fields[b, field] * second + fields[c, field] * third > 0.0:
                    out[row, column] = told[field]


def reduce_labels(fine: Any, clear: Any, step: int, background: int, hair: int, parsing: Any, mask: Any) -> None:
    """Write class and coverage of each pixel of `parsing` and `mask` (S, S) from its step x step pixels of `fine` and `clear`.

    The commonest class wins, the smallest on a tie; what covers half a pixel without a class of its own is hair.
    """
    counts = np.zeros(256, dtype=np.int64)
    full, half, most = np.float32(1.0), np.float32(0.5), np.float32(255.0)
    for row in range(parsing.shape[0]):
        for column in range(parsing.shape[1]):
            through, largest = np.float32(0.0), 0
            counts[:19] = 0
            for y in range(row * step, row * step + step):
                line = np.float32(0.0)
                for x in range(column * step, column * step + step):
                    line += clear[y, x]
                    found = hair if fine[y, x] == background and clear[y, x] < half else fine[y, x]
                    largest = max(largest, found)
                    counts[background if clear[y, x] > half else found] += 1
                through += line
            covered = int(np.rint(most * min(max(full - through / np.float32(step * step), np.float32(0.0)), full)))
            best = 0
            for value in range(1, 19):
                if counts[value] > counts[best]:
                    best = value
            mask[row, column] = covered
            parsing[row, column] = (largest if best == background else best) if covered >= 128 else background


def gather_colours(
    face: Any, bary: Any, uvs: Any, face_uvs: Any, part_of: Any, texels: Any, places: Any, linear: Any, step: int, out: Any
) -> None:  # fmt: skip
    """Write the mean linear colour of each step x step pixels into `out` (S, S, 3), from the nearest texels."""
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            count = 0
            for y in range(row * step, row * step + step):
                for x in range(column * step, column * step + step):
                    index = face[y, x]
                    if index < 0:
                        continue
                    count += 1
                    second, third = bary[y, x, 0], bary[y, x, 1]
                    first = np.float32(1.0) - second - third
                    a, b, c = face_uvs[index, 0], face_uvs[index, 1], face_uvs[index, 2]
                    start, height, width = places[part_of[index]]
                    u = (uvs[a, 0] * first + uvs[b, 0] * second + uvs[c, 0] * third) * width
                    v = (uvs[a, 1] * first + uvs[b, 1] * second + uvs[c, 1] * third) * height
                    texel = start + int(min(max(v, 0.0), height - 1.0)) * width + int(min(max(u, 0.0), width - 1.0))
                    for channel in range(3):
                        out[row, column, channel] += linear[texels[texel, channel]]
            for channel in range(3):
                out[row, column, channel] /= np.float32(max(count, 1))


def _normals(drawing: Drawing, seen: Buffers, offset: int, step: int) -> Array:
    some = Buffers(seen.face[offset::step, offset::step], seen.bary[offset::step, offset::step], seen.depth, seen.clear)
    normals = some.blend(drawing.normals, drawing.faces)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    return np.where(length > 0, normals / np.maximum(length, 1e-12), 0.0).astype(np.float32)


def _opacity(part: Part, places: Floats) -> Array:
    """Return the (N,) uint8 opacity of a part's nearest texels to (N, 2) texture coordinates."""
    height, width = part.texture.shape[:2]
    column = np.clip(places[:, 0] * width, 0, width - 1).astype(np.int64)
    row = np.clip(places[:, 1] * height, 0, height - 1).astype(np.int64)
    return np.asarray(part.texture[row, column, 3])


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
