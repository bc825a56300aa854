"""How faces differ from the canonical face model: a Gaussian process over its vertices, as a few modes of displacement.

One face model cannot lie on every face: people differ by millimetres and smiles by a centimetre, and a camera fitted without
knowing this would turn the head to follow an open mouth. Here a face is a mean face plus a smooth random
displacement (Luethi et al. 2018, Gaussian process morphable models): no scans are needed, only how far and how smoothly
points may move. Fitting it to a picture is left to `head_fit`.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import numpy as np

from ....datasets.arrays import Array, Floats
from ....datasets.canonical_face import canonical_vertices, mirror_partners

RIGHT_EYE = (33, 133)
"""Outer and inner corner of the subject's right eye; their mean is the eye's centre."""
LEFT_EYE = (263, 362)
"""Outer and inner corner of the subject's left eye."""

NUM_VERTICES = 468
"""Points of the mesh without the irises: the canonical face model's vertices."""
IRIS_PARTNERS = (473, 476, 475, 474, 477, 468, 471, 470, 469, 472)
"""Mirror partner of each iris point, 468 to 477: per eye the centre, then four points around it."""

PERSON_DEVIATION = 0.3
"""Centimetres by which a point of a person's face typically lies off the canonical face, along each axis."""
PERSON_LENGTH = 3.0
"""Centimetres over which such displacements change."""
ASYMMETRY = 0.15
"""Share of the variance that the two sides of a face do not have in common."""
EXPRESSION_DEVIATION = 0.6
"""Centimetres by which the mouth moves with the expression; the eyelids move half as far."""
EXPRESSION_LENGTH = 1.2
"""Centimetres over which the movements of an expression change."""


def eye_centres(points: Array) -> Floats:
    """Return the (2, D) centres of the right and left eye of (468 or more, D) mesh points."""
    points = np.asarray(points, dtype=np.float64)
    return np.stack([points[list(RIGHT_EYE)].mean(axis=0), points[list(LEFT_EYE)].mean(axis=0)])


def eye_distance(points: Array) -> float:
    """Return the distance of the eye centres of (468 or more, D) mesh points."""
    right, left = eye_centres(points)
    return float(np.linalg.norm(left - right))


def mesh_partners(count: int) -> Array:
    """Return for each point of MediaPipe's mesh the index of its mirror partner.

    Args:
        count: 468, or 478 with the irises.

    Raises:
        ValueError: another count.
    """
    if count not in (NUM_VERTICES, NUM_VERTICES + len(IRIS_PARTNERS)):
        raise ValueError(f"expected a mesh of {NUM_VERTICES} or {NUM_VERTICES + len(IRIS_PARTNERS)} points, got {count}")
    return np.concatenate([mirror_partners(), IRIS_PARTNERS])[:count]


def mirror_mesh(mesh: Array, width: float) -> Array:
    """Mirror a (468 or 478, 3) mesh in a picture `width` wide: x becomes width - x and partners change places."""
    mirrored: Array = mesh[mesh_partners(len(mesh))] * np.array([-1.0, 1.0, 1.0], dtype=mesh.dtype)
    mirrored[:, 0] += width
    return mirrored


@cache
def expression_deviation() -> Floats:
    """Return the (468,) centimetres by which expressions move each vertex beyond how people differ; read-only."""
    x, y, _ = canonical_vertices().T
    x = np.abs(x)
    mouth = np.exp(-((x / 3.0) ** 2) - ((y + 4.2) / 2.2) ** 2)
    lids = np.exp(-(((x - 3.15) / 1.5) ** 2) - ((y - 2.6) / 0.9) ** 2)
    deviation: Floats = EXPRESSION_DEVIATION * (mouth + 0.5 * lids)
    deviation.setflags(write=False)
    return deviation


@cache
def vertex_normals() -> Floats:
    """Return the (468, 3) outward unit normals of the canonical face, from the plane through each vertex's neighbours."""
    vertices = canonical_vertices()
    inside = np.array([0.0, 0.0, -4.0])
    order = np.argsort(np.linalg.norm(vertices[:, None] - vertices[None], axis=2), axis=1, kind="stable")[:, :9]
    normals = np.empty_like(vertices)
    for index, near in enumerate(order):
        patch = vertices[near] - vertices[near].mean(axis=0)
        normal = np.linalg.svd(patch)[2][2]
        normals[index] = normal * np.sign(normal @ (vertices[index] - inside))
    normals.setflags(write=False)
    return normals


@cache
def mean_face() -> Floats:
    """Return the (468, 3) vertices in centimetres about which faces differ, as the mesh network marks them; read-only.

    The canonical face is nobody's mean: under it, faces in front seemed to be seen from 2.5 degrees above where they were.
    Learned by `tests/bench/mean_face.py` from rendered people (seed 7) under known cameras; what of it moves, turns or scales
    the face is left out, as from the modes. It serves photographs as well: the fits of five real faces cost 6 per cent less
    with it, data and prior together (three 9 to 11, one 3, one as much as before), and with half its opposite each costs more.
    """
    with resources.files(__package__).joinpath("data/mean_face.npy").open("rb") as file:
        mean = canonical_vertices() + np.load(file, allow_pickle=False)
    mean.setflags(write=False)
    return np.asarray(mean)


@cache
def shape_modes(num_modes: int = 40) -> Floats:
    """Return the (num_modes, 468, 3) displacements in centimetres of which a face is a sum with standard normal weights.

    They are the strongest eigenvectors of the process's covariance, each scaled by its deviation. Fields that are even or odd
    under mirroring are taken apart: a symmetric face has odd x and even y and z. What moves, turns or scales the whole face is
    taken out, so that it stays with the camera.
    """
    modes, variances = [], []
    for sign, share in ((1.0, 1.0), (-1.0, ASYMMETRY)):
        for axis in range(3):
            values, vectors = np.linalg.eigh(_covariance(-sign if axis == 0 else sign))
            for value, vector in zip(values[::-1][:num_modes], vectors.T[::-1][:num_modes], strict=True):
                mode = np.zeros((len(vector), 3))
                mode[:, axis] = vector * np.sqrt(share * max(value, 0.0))
                modes.append(mode)
                variances.append(share * value)
    strongest = np.argsort(-np.array(variances, dtype=np.float64), kind="stable")[:num_modes]
    kept = np.array(modes).reshape(-1, 3 * len(canonical_vertices()))[strongest]
    rigid = _rigid_motions()
    kept = (kept - (kept @ rigid) @ rigid.T).reshape(num_modes, len(canonical_vertices()), 3)
    kept.setflags(write=False)
    return kept


def _covariance(sign: float) -> Floats:
    """Return the (468, 468) covariance of one coordinate's displacement over fields that are even (+1) or odd (-1) in x."""
    vertices = canonical_vertices()
    squared = ((vertices[:, None] - vertices[None]) ** 2).sum(axis=2)
    partners = mirror_partners()
    expression = expression_deviation()

    def part(length: float) -> Floats:
        kernel = np.exp(-squared / (2.0 * length * length))
        return np.asarray(0.5 * (kernel + sign * kernel[:, partners]))

    return np.asarray(PERSON_DEVIATION**2 * part(PERSON_LENGTH) + np.outer(expression, expression) * part(EXPRESSION_LENGTH))


def _rigid_motions() -> Floats:
    """Return the (1404, 7) orthonormal directions in which the whole face moves, turns or grows."""
    centred = canonical_vertices() - canonical_vertices().mean(axis=0)
    directions = [centred.reshape(-1)]
    for axis in np.eye(3):
        directions.append(np.broadcast_to(axis, centred.shape).reshape(-1))
        directions.append(np.cross(axis, centred).reshape(-1))
    return np.linalg.qr(np.array(directions).T)[0]
