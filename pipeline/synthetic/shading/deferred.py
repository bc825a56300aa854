"""Pictures without rays: deferred shading over the z-buffer's own buffers, in milliseconds.

The sky's light arrives by precomputed transfer at vertices, a lamp's through a shadow map at pixels; skin has wrapped diffuse
light, hair that of matt cylinders and the highlights of Kajiya and Kay (1989). The loops are in `vertices`, `points` and
`pixels`; light that bounces is `rendering.render`'s.
"""

from __future__ import annotations

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.camera import Camera
from ....datasets.compiled import compiled
from ..rendering.exact_pass import LINEAR
from ..rendering.light import KeyLight, Light
from ..rendering.raster import NEAREST, Buffers
from .occlusion import depth_map, directions
from .pixels import cover_softly, lend_colours, resolve
from .points import POINT_NUMBERS, choose, fade_lamp, gather, gild, light_by_lamp, light_by_sky, reach_lamp
from .relief import roughen, waves
from .sky import SkyTables, sky_tables
from .strands import light_strands
from .surfaces import HAIR, Surfaces
from .thickness import FEW_FOR_LAMP, SOFT, shading_points, strand_map
from .vertices import VERTEX_NUMBERS, light_hair, light_vertices, mark_vertices

SHADOW_SIDE = 256
"""Side of a lamp's shadow map in texels."""
SHADOW_REACH = 0.78
"""World units around the origin that a shadow map covers."""
BOUNCE = (0.24, 0.19, 0.16)
"""Share of the mean irradiance that what hides the sky sends back instead: skin and hair are mostly warm."""
ALIKE = 0.02
"""World units of depth within which the samples of a pixel on one part are lit once."""


def photograph(surfaces: Surfaces, seen: Buffers, camera: Camera, light: Light, step: int) -> Array:
    """Shade what a camera sees.

    Args:
        surfaces: the figure.
        seen: what the camera sees, `step` times as fine as the picture, without what is not to be seen.
        camera: any pinhole camera.
        light: what lights the head.
        step: samples per pixel along each axis.

    Returns:
        (S, S, 4) float32: linear colours times opacity, and opacity.
    """
    slot, places = _chosen(surfaces, seen, step)
    answered = _lit(surfaces, seen, camera, light, places, step)
    drawing = surfaces.drawing
    size = seen.face.shape[0] // step
    picture = np.empty((size, size, 4), dtype=np.float32)
    compiled(resolve)(
        seen.face, seen.bary, seen.clear, drawing.uvs, drawing.face_uvs, drawing.part_of, *drawing.textures, LINEAR, slot,
        answered, _soft(surfaces, seen, camera), step, picture,
    )  # fmt: skip
    compiled(lend_colours)(picture)
    return picture if seen.strands is None else _with_strands(surfaces, seen, light, step, picture)


def _with_strands(surfaces: Surfaces, seen: Buffers, light: Light, step: int, picture: Array) -> Array:
    """Lay lit strands over a picture of the meshes."""
    assert seen.strands is not None
    shadow, lamp, to_lamp = None, np.zeros(16, dtype=np.float32), np.zeros((3, 4))
    if light.key is not None:
        to_lamp = _lamp_camera(light.key)[0]
        meshes, veil, lamp = _lamp(surfaces, light.key)
        shadow = np.minimum(meshes, veil[..., 0])
    strands = surfaces.drawing.strands
    colour, cover = light_strands(strands, seen.strands, sky_tables(light.sky), shadow, lamp, to_lamp, step)
    mixed = picture * (1.0 - cover[..., None])
    mixed[..., :3] += colour
    mixed[..., 3] += cover
    return mixed.astype(np.float32)


def _lit(surfaces: Surfaces, seen: Buffers, camera: Camera, light: Light, places: Array, step: int) -> Array:
    """Return (N, 6) the light that each place sends to the camera: times the surface's colour, and as it is."""
    drawing, finishes = surfaces.drawing, surfaces.finishes
    tables = sky_tables(light.sky)
    vertices = _lit_vertices(surfaces, seen, camera, light, tables)
    points, parts = np.empty((len(places), POINT_NUMBERS), dtype=np.float32), np.empty(len(places), dtype=np.int32)
    out = np.empty((len(places), 6), dtype=np.float32)
    compiled(gather)(
        places, seen.face, seen.bary, drawing.faces, drawing.part_of, vertices, _rays(camera, seen), finishes, parts, points
    )
    shown = waves(_pixel(seen, camera, places, step))
    if len(shown):
        compiled(roughen)(places, parts, finishes, seen.face, seen.bary, drawing.faces, drawing.points, shown, points)
    compiled(light_by_sky)(points, parts, finishes, tables.mirrors, out)
    if light.key is not None:
        shadow, veil, lamp = _lamp(surfaces, light.key)
        reached = np.empty((len(places), 6), dtype=np.float32)
        compiled(reach_lamp)(places, points, parts, finishes, shadow, lamp, reached)
        compiled(fade_lamp)(places, points, veil, np.float32(SOFT), lamp, reached)
        compiled(light_by_lamp)(points, parts, finishes, lamp, reached, out)
    compiled(gild)(parts, finishes, out)
    return out


def _lit_vertices(surfaces: Surfaces, seen: Buffers, camera: Camera, light: Light, tables: SkyTables) -> Array:
    """Return the (V, 16) numbers of the vertices that are seen."""
    drawing = surfaces.drawing
    out = np.empty((len(drawing.points), VERTEX_NUMBERS), dtype=np.float32)
    to_lamp = np.zeros((3, 4)) if light.key is None else _lamp_camera(light.key)[0]
    bounce = np.array(BOUNCE) * tables.arriving.sum(axis=0) / 4.0
    needed = np.zeros(len(out), dtype=np.bool_)
    compiled(mark_vertices)(seen.face, drawing.faces, needed)
    compiled(light_vertices)(
        needed, surfaces.normals, surfaces.tangents, surfaces.transfer, surfaces.ambient, surfaces.bounced, drawing.points,
        tables.arriving, to_lamp, bounce.astype(np.float32), out,
    )  # fmt: skip
    compiled(light_hair)(
        needed, surfaces.kinds, surfaces.tangents, surfaces.sees, drawing.points, tables.arriving,
        directions().astype(np.float32), camera.position, HAIR, out,
    )  # fmt: skip
    return out


def _chosen(surfaces: Surfaces, seen: Buffers, step: int) -> tuple[Array, Array]:
    """Return which lit sample counts for each sample, and (N, 2) rows and columns of the lit ones."""
    slot = np.full(seen.face.shape, -1, dtype=np.int32)
    places = np.empty((seen.face.size, 2), dtype=np.int32)
    count = compiled(choose)(seen.face, seen.depth, surfaces.drawing.part_of, step, np.float32(ALIKE), slot, places)
    return slot, places[:count]


def _lamp_camera(key: KeyLight) -> tuple[Floats, Floats]:
    """Return (3, 4) from the world to the lamp's view, its first two rows in texels at distance 1, and its (3, 3) rotation."""
    place = np.array(key.place)
    ahead = -place / np.linalg.norm(place)
    right = np.cross([0.0, 1.0, 0.0] if abs(ahead[1]) < 0.95 else [1.0, 0.0, 0.0], ahead)
    right /= np.linalg.norm(right)
    rotation = np.column_stack([right, np.cross(ahead, right), ahead])
    world_to_lamp = np.column_stack([rotation.T, -rotation.T @ place])
    return np.diag([_focal(key), _focal(key), 1.0]) @ world_to_lamp, rotation


def _focal(key: KeyLight) -> float:
    """Return the texels of a shadow map that a unit at distance 1 covers."""
    return 0.5 * SHADOW_SIDE / (SHADOW_REACH / (float(np.linalg.norm(key.place)) - SHADOW_REACH))


def _lamp(surfaces: Surfaces, key: KeyLight) -> tuple[Array, Array, Array]:
    """Return a lamp's depth map of meshes, its map of strands (see `thickness`) and its numbers.

    They are 1 and the radiance 0-3, the radius 4, the middle of the map in texels 5, texels of the map for a unit at
    distance 1 6, and the rotation from the lamp's camera to the world 7-15.
    """
    to_lamp, rotation = _lamp_camera(key)
    placed, _ = _seen_by_lamp(surfaces.drawing.points, to_lamp)
    lamp = np.empty(16, dtype=np.float32)
    lamp[:7] = [1.0, *key.colour, key.radius, 0.5 * SHADOW_SIDE, _focal(key)]
    lamp[7:] = rotation.ravel()
    shadow = depth_map(placed, surfaces.hiding, SHADOW_SIDE)
    strands = surfaces.drawing.strands
    if not len(strands):
        return shadow, np.zeros((1, 1, 2), dtype=np.float32), lamp
    some = shading_points(strands, FEW_FOR_LAMP)
    placed, nearness = _seen_by_lamp(strands.points[some], to_lamp)
    half_width = strands.radii[some] * nearness * np.float32(FEW_FOR_LAMP * _focal(key))
    return shadow, strand_map(placed, half_width, strands.strand_of[some], SHADOW_SIDE), lamp


def _seen_by_lamp(points: Floats, to_lamp: Floats) -> tuple[Array, Array]:
    """Return (N, 3) float32 column, row and depth of points in a lamp's maps, and (N,) one over the depth."""
    local = points @ to_lamp[:, :3].T + to_lamp[:, 3]
    nearness = 1.0 / local[:, 2:]
    placed = np.column_stack([local[:, :2] * nearness + 0.5 * SHADOW_SIDE, local[:, 2]])
    return placed.astype(np.float32), nearness[:, 0].astype(np.float32)


def _pixel(seen: Buffers, camera: Camera, places: Array, step: int) -> float:
    """Return how many world units a pixel is wide at what is seen, on the median."""
    if not len(places):
        return 1.0
    some = places[:: max(len(places) // 256, 1)]
    distance = float(np.median(seen.depth[some[:, 0], some[:, 1]]))
    return distance * step / float(camera.intrinsics[0, 0] * seen.face.shape[0])


def _rays(camera: Camera, seen: Buffers) -> Array:
    """Return (3, 3): the world direction through sample (0, 0), and its steps along columns and rows."""
    side = seen.face.shape[0]
    lifted = camera.cam2world[:3, :3] @ np.linalg.inv(camera.intrinsics)
    return np.stack([lifted @ [0.5 / side, 0.5 / side, 1.0], lifted[:, 0] / side, lifted[:, 1] / side]).astype(np.float32)


def _soft(surfaces: Surfaces, seen: Buffers, camera: Camera) -> Array:
    """Return (S, S, 4): colours times cover, and cover, of what lies half transparent before what is seen."""
    drawing = surfaces.drawing
    side = seen.face.shape[0]
    soft = np.zeros((side, side, 4), dtype=np.float32)
    order = drawing.transparent
    if len(order):
        image, depth = camera.project(drawing.points)
        compiled(cover_softly)(
            image * side, depth, drawing.faces, drawing.uvs, drawing.face_uvs, drawing.alpha.pixels, drawing.alpha.places,
            drawing.alpha.of_face, order, *drawing.textures, drawing.part_of, LINEAR, NEAREST, seen.face, seen.depth, soft,
        )  # fmt: skip
    return soft
