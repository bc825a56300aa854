"""Where rendered heads lie in the head frame: fits the photographs' own model of a face to all sides of people at once.

Prints the similarity by which `pipeline/synthetic/placement.py` is off on average, and its constants once that is taken out.
With --out it also finds, and writes, the vertices of the base mesh that the network's 468 points lie on. The people are those
of seed 7; held-out people (seed 9001) have no say. Run: python tests/bench/synthetic_frame.py ASSETS --heads 32
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mesh_drift import TRUSTED_YAW, own_face, views_of
from scipy.spatial.transform import Rotation
from spherehead.datasets.camera import canonical_to_world
from spherehead.datasets.canonical_face import canonical_vertices, mirror_partners
from spherehead.pipeline.annotators.faces.mesh_drift import coefficients
from spherehead.pipeline.stages.detect import Detect
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.body import Body
from spherehead.pipeline.synthetic.people.figure import body_of
from spherehead.pipeline.synthetic.people.placement import place, places, similarity
from spherehead.pipeline.synthetic.people.population import draw_person

FARTHEST = 0.3
"""Decimetres: a point farther off a vertex than this counts as that far."""


def vertices_of(body: Body, faces: list[np.ndarray], people: list[np.ndarray]) -> np.ndarray:
    """Return the (468,) base vertices that are nearest to the points over all people; mirrored points have mirrored vertices.

    Args:
        body: the base mesh.
        faces: (468, 3) fitted points of each person, in decimetres.
        people: (V, 3) vertices of each person, with the expression that the pictures show.
    """
    base = body.base
    used = np.unique(base.faces[base.group("body")])
    used = used[(base.vertices[used, 1] > 5.6) & (base.vertices[used, 2] > 0.2)]
    place_of = {tuple(place): index for index, place in enumerate(base.vertices[used].round(3).tolist())}
    mirrored = np.array([place_of[(-x + 0.0, y, z)] for x, y, z in base.vertices[used].round(3).tolist()])
    cost = np.zeros((len(mirror_partners()), len(used)))
    for points, vertices in zip(faces, people, strict=True):
        cost += np.minimum(((points[:, None] - vertices[used][None]) ** 2).sum(axis=2), FARTHEST**2)
    return np.asarray(used[(cost + cost[mirror_partners()][:, mirrored]).argmin(axis=1)], dtype=np.int32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=32)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--out", type=Path, help="write the vertices of the face here")
    options = parser.parse_args()
    assets, detect = open_assets(options.assets), Detect(landmarks="mediapipe").open()
    body, found, faces, people = body_of(assets), [], [], []
    for head in range(options.heads):
        person = draw_person(assets, 7, head)
        own = [view for view in views_of(head, 7, assets, detect, options.side) if abs(view.camera.yaw) < TRUSTED_YAW]
        if len(own) < 6:
            continue
        points, placement = own_face(own, coefficients())
        placed = place(body.morph(person.shape))
        found.append(placement)
        faces.append((points - placed.offset) @ placed.rotation / placed.scale)
        people.append(body.morph({**person.shape, **person.expression}))
    middle, spread = np.median(found, axis=0), np.std(found, axis=0)
    print(f"{len(found)} people; turn in degrees (3), scale, shift in world units (3), the median and the spread:")
    print(middle.round(4), spread.round(4))
    # where fits say that the canonical face lies is where it ought to lie: move the places the other way
    back = Rotation.from_euler("x", -middle[0], degrees=True).as_matrix()
    moved = (places() - [0.0, middle[5], middle[6]]) @ back.T / middle[3]
    whole = similarity(canonical_to_world(canonical_vertices()), moved)
    turn = np.degrees(Rotation.from_matrix(whole.rotation).as_rotvec()[0])
    print(f"TURN_DEGREES {turn:.2f}, GROWTH {whole.scale:.4f}, RISE {whole.offset[1]:.4f}, ADVANCE {whole.offset[2]:.4f}")
    if options.out is not None:
        np.save(options.out, vertices_of(body, faces, people), allow_pickle=False)


if __name__ == "__main__":
    main()
