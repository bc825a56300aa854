"""A person as parts to draw: meshes in the head frame with textures, classes and finishes, put together from the assets.

Who the person is comes from `population`; light, camera and the drawing itself are left to `geometry`, `preview` and `render`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.classes import INDEX
from ..assets.library import Assets, Piece
from ..face.eyeballs import cornea_normals, turn
from ..hair.scalp import Surface
from ..hair.shaping import smoothed
from ..hair.strands import Strands
from ..wear.clips import clips
from ..wear.clothes import coloured, folded
from ..wear.dress import around, dress
from ..wear.garment import Garment
from . import glasses, paint
from .body import BUST_BOTTOM, BUST_HALF_WIDTH, Body, vertex_normals
from .face_points import face_points, iris_points
from .growth import beard_field, face_shades, grow_lashes, grow_on, head_places, scalp_field, scalp_picture, surface_of
from .mouth import TeethLook, build_mouth, is_open
from .parts import BEARDED_SKIN, Part
from .placement import Placement, place
from .population import Person
from .subdivision import compact, quads_of, subdivide

TOP_OF_EAR = (0.74, 7.36, 0.50)
"""Where the temples of glasses rest on the unmorphed left ear (dm)."""
SCALP_SHADE = 0.7
"""How much of the scalp's skin takes the colour of grown hair where that is dense: its shade, and what is too short to draw."""
MATTED = 0.97
"""The same between locs and twists: what is matted into them fills their sections, and drawn strands are too few for that."""
NOSE_BRIDGE = (0.0, 7.16, 1.56)
"""Where their bridge rests."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A person ready to be drawn."""

    person: Person
    parts: tuple[Part, ...]
    placement: Placement
    face_points: Floats
    """(478, 3) MediaPipe's face points in the head frame, see `face_points`."""
    strands: tuple[Strands, ...] = ()
    """Hair that was grown."""


@lru_cache(maxsize=4)
def body_of(assets: Assets) -> Body:
    """Return the body of some assets, made once."""
    return Body(assets)


def build_figure(assets: Assets, person: Person, size: int = 512) -> Figure:
    """Put a person together for pictures of a side; textures are painted no finer than these can show.

    Raises:
        AssetError: one of the assets is damaged or missing.
    """
    body = body_of(assets)
    calm = body.morph(person.shape)
    placement = place(calm)
    vertices = body.turned(body.morph({**person.shape, **person.expression}), person.neck)
    maker = _Maker(assets, body, person, vertices, placement, paint.fineness_for(size))
    parts = [*maker.skin(), *maker.eyes(), *maker.worn()]
    if person.glasses is not None:
        parts += maker.glasses()
    strands: tuple[Strands, ...] = ()
    face = maker.face_points(parts)
    if person.teeth is not None and is_open(vertices, calm):
        parts += maker.mouth(person.teeth, calm)
    if person.growth is not None or person.wear.things:
        surface = maker.surface(parts)
        outfit = dress(person.wear, surface, person.growth)
        parts += [worn_part(garment) for garment in outfit.garments]
        if person.growth is not None:
            pressed = outfit.press(grow_on(person.growth, around(surface, outfit)))
            strands = tuple(smoothed(some) for some in pressed)
            if person.wear.clip is not None:
                parts += [worn_part(garment) for garment in clips(person.wear.clip, strands)]
            if person.growth.lashes is not None:
                strands += (grow_lashes(person.growth.lashes, body, vertices, placement),)
    return Figure(person, tuple(part for part in parts if len(part.faces)), placement, face, strands)


def worn_part(garment: Garment) -> Part:
    """Return something worn as a part to draw."""
    normals = vertex_normals(garment.points, garment.faces)
    labels = np.full(len(garment.faces), INDEX[garment.label], dtype=np.uint8)
    return Part(
        garment.name, garment.points, normals, garment.faces, garment.uvs, garment.face_uvs, garment.texture, labels,
        garment.finish,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Maker:
    assets: Assets
    body: Body
    person: Person
    vertices: Floats
    placement: Placement
    fineness: int

    def part(
        self, name: str, points: Floats, faces: Array, uvs: Floats, face_uvs: Array, texture: Pixels, labels: Array, finish: str
    ) -> Part:
        """Make a part from points in decimetres, leaving out vertices that no face uses."""
        used, new = compact(faces)
        used_uvs, new_uvs = compact(face_uvs)
        placed = self.placement.apply(points[used])
        return Part(
            name, placed, vertex_normals(placed, new), new, uvs[used_uvs], new_uvs,
            texture, labels, finish,
        )  # fmt: skip

    def face_points(self, parts: list[Part]) -> Floats:
        """Return the (478, 3) face points on this person's surface, irises of the eyes among `parts` included."""
        surface = self.placement.apply(self.body.bust.subdivision.refine(self.vertices))
        irises = {
            part.name: iris_points(part.points, part.faces, part.uvs, part.face_uvs)
            for part in parts
            if part.name in ("right_eye", "left_eye")
        }
        none = np.zeros((0, 3))
        return face_points(surface, irises.get("right_eye", none), irises.get("left_eye", none))

    def mouth(self, look: TeethLook, calm: Floats) -> list[Part]:
        """Make what is in the mouth; `calm` are the vertices without expression."""
        moved, before = self.placement.apply(self.vertices), self.placement.apply(calm)
        return [worn_part(made) for made in build_mouth(look, self.body, moved, before)]

    def skin(self) -> list[Part]:
        """Make head and scalp, and the rest of the bust, which has a texture of its own; scalps under hair are matt."""
        bust, person = self.body.bust, self.person
        points = bust.subdivision.refine(self.vertices)
        faces, face_uvs = bust.subdivision.faces, bust.subdivision.face_uvs
        shown = np.full(len(faces), True)
        if person.clothes:
            hidden = np.zeros(len(self.vertices), dtype=bool)
            hidden[self.assets.piece(person.clothes).proxy.hidden] = True
            shown &= ~np.asarray(hidden[bust.corners]).all(axis=1)
        left, top, right, bottom = np.array(paint.HEAD_CROP) / 512.0
        u, v = bust.uvs[face_uvs].transpose(2, 0, 1)
        head = ((u > left) & (u < right) & (v > top) & (v < bottom)).all(axis=1) & (bust.labels != INDEX["mouth"])
        normals = vertex_normals(self.placement.apply(points), faces)
        beard = person.growth.beard if person.growth is not None else None
        fields = np.column_stack([bust.below_jaw, self._scalp_field(), beard_field(self.body, beard)])
        labels = (INDEX["neck"], INDEX["hair"], BEARDED_SKIN)
        crop_uvs = (bust.uvs - [left, top]) / [right - left, bottom - top]
        places = head_places(self.assets, self.body)
        found, blended = list[Part](), paint.body_skin(self.assets, person)
        painted = paint.head_skin(self.assets, person, self._scalp_picture(), places, self._shades(), blended, self.fineness)
        finish = "oily skin" if person.marks is not None and person.marks.oily else "skin"
        grown = head & (fields[faces, 1] > 0.0).all(axis=1)
        for name, chosen, uvs, texture, of in (
            ("head", head & ~grown & shown, crop_uvs, painted, finish),
            ("scalp", grown & shown, crop_uvs, painted, "scalp"),
            ("bust", ~head & shown, bust.uvs, paint.bust_skin(blended, person), finish),
        ):
            if not chosen.any():
                continue
            used, new = compact(faces[chosen])
            part = Part(
                name, self.placement.apply(points[used]), normals[used], new, uvs,
                face_uvs[chosen], _opaque(texture), bust.labels[chosen], of, 0.5, fields[used], labels,
            )  # fmt: skip
            found.append(part)
        return found

    def _scalp_field(self) -> Floats:
        """Return one value a fine vertex of the bust: positive where the scalp is painted as hair."""
        bust, growth = self.body.bust, self.person.growth
        if self.person.scalp == "bare":
            return np.full(bust.subdivision.matrix.shape[0], -1.0)
        if growth is not None and growth.hair is not None:
            return scalp_field(self.body, growth.hair)
        mask = paint.scalp_mask(self.assets)
        uv_of = np.zeros(bust.subdivision.matrix.shape[0], dtype=np.int64)
        uv_of[bust.subdivision.faces.ravel()] = bust.subdivision.face_uvs.ravel()
        x, y = np.clip(bust.uvs[uv_of] * 512.0, 0, 511).astype(np.int64).T
        return np.asarray(mask[y, x] - 0.5, dtype=np.float64)

    def _scalp_picture(self) -> Array | None:
        """Return what is painted under hair that is grown; None where the assets' own scalp is."""
        growth = self.person.growth
        if growth is None or growth.hair is None:
            return None
        shade = MATTED if growth.hair.tie in ("locs", "twists") else SCALP_SHADE
        return scalp_picture(self.assets, self.body, growth.hair) * np.float32(shade)

    def _shades(self) -> list[tuple[Array, tuple[float, float, float]]]:
        """Return what is painted under beards and brows that are grown."""
        growth = self.person.growth
        return [] if growth is None else face_shades(self.assets, self.body, growth)

    def surface(self, parts: list[Part]) -> Surface:
        """Return the head as a surface that hair grows on and things are worn on, with the clothes among `parts` around it."""
        worn = [part for part in parts if part.name == "cloth"]
        none = np.zeros((0, 3))
        around = (np.vstack([none, *(p.points for p in worn)]), np.vstack([none, *(p.normals for p in worn)]))
        return surface_of(self.body, self.vertices, self.placement, around)

    def eyes(self) -> list[Part]:
        """Make both eyeballs, turned to where the person looks."""
        person = self.person
        if not person.eyes:
            return []
        piece = self.assets.piece(person.eyes)
        points = piece.proxy.fit(self.vertices)
        ball = piece.mesh.uvs[piece.mesh.face_uvs][..., 1].max(axis=1) < 0.87  # the cornea is painted in a corner, clear
        ball |= piece.mesh.uvs[piece.mesh.face_uvs][..., 0].min(axis=1) < 0.87
        texture = _opaque(paint.eye(self.assets, person.eye_texture))
        found = []
        for side, name in ((1.0, "left_eye"), (-1.0, "right_eye")):
            faces_of = ball & (side * points[piece.mesh.faces][..., 0].mean(axis=1) > 0)
            faces = piece.mesh.faces[faces_of]
            if not len(faces):
                continue
            turned = points.copy()
            used = np.unique(faces)
            turned[used] = turn(points[used], *person.gaze)
            labels = np.full(len(faces), INDEX[name], dtype=np.uint8)
            part = self.part(name, turned, faces, piece.mesh.uvs, piece.mesh.face_uvs[faces_of], texture, labels, "eye")
            iris = iris_points(part.points, part.faces, part.uvs, part.face_uvs)
            found.append(dataclasses.replace(part, normals=cornea_normals(part.points, part.normals, iris)))
        return found

    def worn(self) -> list[Part]:
        """Make everything that hangs on the body: brows, lashes, hair, hat and clothes."""
        person = self.person
        found = []
        for name, kind in (
            (person.brows, "brow"), (person.lashes, "lashes"), (person.hair, "hair"), (person.hat, "hat"),
            (person.clothes, "cloth"),
        ):  # fmt: skip
            if not name:
                continue
            piece = self.assets.piece(name)
            cut = _cut(self.assets, name, kind in ("hair", "hat", "cloth"))
            points = np.asarray(cut.matrix @ piece.proxy.fit(self.vertices))
            labels = np.full(len(cut.faces), INDEX.get(kind, INDEX["hair"]), dtype=np.uint8)
            if kind == "brow":
                left = points[cut.faces][..., 0].mean(axis=1) > 0
                labels = np.where(left, INDEX["left_brow"], INDEX["right_brow"]).astype(np.uint8)
            finish = "cloth" if kind in ("hat", "cloth") else "hair"
            part = self.part(kind, points, cut.faces, cut.uvs, cut.face_uvs, self._picture(piece, kind), labels, finish)
            if kind == "cloth":
                lying = folded(part.points, part.normals, part.faces, person.clothes_look)
                part = dataclasses.replace(part, points=lying, normals=vertex_normals(lying, part.faces))
            found.append(dataclasses.replace(part, seen_from=2.0) if kind == "lashes" else part)
        return found

    def _picture(self, piece: Piece, kind: str) -> Pixels:
        """Paint what hangs on the body; lashes only cover what is behind and are in no class."""
        person = self.person
        texture = person.hat_texture if kind == "hat" and person.hat_texture else piece.texture
        if not texture:
            return paint.plain((0.5, 0.5, 0.5))
        if kind == "hair":
            return paint.hair(self.assets, texture, person.hair_colour, self.fineness)
        picture = self.assets.picture(texture)
        if kind == "brow":
            red, green, blue = person.hair_colour
            return paint.flat(picture, (0.6 * red, 0.6 * green, 0.6 * blue))
        if kind == "lashes":
            return paint.flat(picture, (0.04, 0.03, 0.03))
        if kind == "cloth":
            picture = coloured(self.assets, texture, person.clothes_look, self.fineness)
        return _opaque(picture[..., :3])

    def glasses(self) -> list[Part]:
        """Make the glasses on this person's nose and ears."""
        look = self.person.glasses
        assert look is not None
        bust, base = self.body.bust, self.body.base.vertices
        fine = bust.subdivision.refine(self.vertices)
        skin = fine[np.unique(bust.subdivision.faces[bust.labels == INDEX["skin"]])]

        def follow(place: tuple[float, float, float]) -> Floats:
            nearest = int(np.argmin(((base[: len(self.vertices)] - place) ** 2).sum(axis=1) + 1e3 * self._not_skin()))
            return np.asarray(self.vertices[nearest] + (np.array(place) - base[nearest]))

        x, y, z = TOP_OF_EAR
        seat = glasses.Seat(
            self.body.centre(self.vertices, "joint-l-eye"), self.body.centre(self.vertices, "joint-r-eye"),
            follow(NOSE_BRIDGE), follow((x, y, z)), follow((-x, y, z)), skin,
        )  # fmt: skip
        frame, lenses = glasses.build(look, seat)
        lens_colour = look.lens or ((0.03, 0.03, 0.035) if look.lens_opacity > 0.5 else (0.9, 0.95, 1.0))
        found = []
        for name, solid, texture, finish in (
            ("frame", frame, paint.plain(look.frame), "metal" if look.metal else "frame"),
            ("lens", lenses, paint.plain(lens_colour, look.lens_opacity), "lens"),
        ):
            uvs, face_uvs = np.full((1, 2), 0.5), np.zeros_like(solid.faces)
            labels = np.full(len(solid.faces), INDEX["glasses"], dtype=np.uint8)
            part = self.part(name, solid.points, solid.faces, uvs, face_uvs, texture, labels, finish)
            if finish == "lens":
                normals = part.normals if look.lens is None else glasses.ground(part.points)
                part = dataclasses.replace(part, seen_from=0.0, normals=normals)
            found.append(part)
        return found

    def _not_skin(self) -> Array:
        used = np.zeros(len(self.vertices))
        used[np.unique(self.body.base.faces[self.body.base.group("body")])] = 1.0
        return 1.0 - used


@dataclass(frozen=True, eq=False)
class _Cut:
    """What is drawn of a piece: near the head, refined where silhouettes must be round."""

    matrix: scipy.sparse.csr_matrix
    """(V', V) from the piece's vertices to those that are drawn."""
    faces: Array
    uvs: Floats
    face_uvs: Array


@lru_cache(maxsize=32)
def _cut(assets: Assets, name: str, refined: bool) -> _Cut:
    """Cut a piece to the bust, once for all people."""
    piece = assets.piece(name)
    mesh = piece.mesh
    rest = piece.proxy.fit(assets.base.vertices)[mesh.faces]
    near = np.asarray((rest[..., 1] > BUST_BOTTOM - 0.6).all(axis=1) & (np.abs(rest[..., 0]) < BUST_HALF_WIDTH).all(axis=1))
    faces, face_uvs = mesh.faces[near], mesh.face_uvs[near]
    if not refined:
        return _Cut(scipy.sparse.identity(len(mesh.vertices), format="csr"), faces, mesh.uvs, face_uvs)
    both = np.repeat(near[0::2] & near[1::2], 2)
    quads, uv_quads = quads_of(mesh.faces[both]), quads_of(mesh.face_uvs[both])
    fine = subdivide(len(mesh.vertices), quads, len(mesh.uvs), uv_quads)
    return _Cut(fine.matrix, fine.faces, np.asarray(fine.uv_matrix @ mesh.uvs), fine.face_uvs)


def _opaque(picture: Pixels) -> Pixels:
    return np.dstack([picture, np.full(picture.shape[:2], 255, dtype=np.uint8)])
