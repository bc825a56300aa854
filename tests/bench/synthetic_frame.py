"""Where rendered heads lie in the head frame: fits the label's camera to MediaPipe's mesh on previews with known cameras.

Prints the similarity by which the placement is off on average, and the landmarks' places once it is corrected: the numbers of
`pipeline/synthetic/placement.py`. Run: python tests/bench/synthetic_frame.py ASSETS --heads 40
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from spherehead.datasets.camera import FOCAL, RADIUS, Camera
from spherehead.pipeline.faces.head_fit import HeadFit
from spherehead.pipeline.faces.looks import mesh_in_region, region_of_mesh
from spherehead.pipeline.mediapipe_models import FaceFinder, FaceMesher, Region
from spherehead.pipeline.stages.detect import FIRST_GROWTH
from spherehead.pipeline.synthetic.assets import open_assets
from spherehead.pipeline.synthetic.figure import body_of, build_figure
from spherehead.pipeline.synthetic.geometry import Drawing
from spherehead.pipeline.synthetic.placement import PLACES, landmarks
from spherehead.pipeline.synthetic.population import draw_person
from spherehead.pipeline.synthetic.preview import preview

YAWS = (-40, -20, 0, 20, 40)


def _mesh(mesher: FaceMesher, picture: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray | None:
    """Look twice, as `detect` does: the second look is where the first found the face."""
    x, y, width, height = box
    region = Region(x + width / 2, y + height / 2, FIRST_GROWTH * max(width, height))
    first = mesh_in_region(mesher, picture, region)
    return None if first is None else mesh_in_region(mesher, picture, region_of_mesh(first))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--size", type=int, default=512)
    options = parser.parse_args()
    assets = open_assets(options.assets)
    body, fit = body_of(assets), HeadFit()
    turns, scales, shifts, places, residuals = [], [], [], [], []
    with FaceFinder() as finder, FaceMesher() as mesher:
        for head in range(options.heads):
            person = dataclasses.replace(
                draw_person(assets, 7, head), hair="", hat="", scalp="stubble", glasses=None, expression={}, gaze=(0.0, 0.0)
            )
            figure = build_figure(assets, person)
            drawing = Drawing(figure, with_clear=False)
            found = landmarks(body, body.morph(person.shape))
            places.append(figure.placement.apply(np.array([found[name] for name in PLACES])))
            rows, values = [], []
            for yaw in YAWS:
                camera = Camera.look_at(np.radians(yaw), 0.0)
                picture = preview(drawing, camera, options.size)
                faces = finder.find(picture)
                mesh = _mesh(mesher, picture, faces[0].box) if faces else None
                if mesh is None:
                    continue
                placed = fit.fit(mesh)
                turns.append(Rotation.from_matrix(placed.rotation.T @ camera.world2cam).as_rotvec())
                scales.append(placed.scale / options.size)
                residuals.append(float(np.median(placed.residuals)))
                rows.append(camera.world2cam[:2] * FOCAL / RADIUS)
                values.append((placed.centre - options.size / 2) / options.size)
            if len(rows) >= 3:
                shifts.append(np.linalg.lstsq(np.vstack(rows), np.concatenate(values), rcond=None)[0])
    turn = np.median(turns, axis=0)
    scale, shift = float(np.median(scales)), np.median(shifts, axis=0)
    turn[1:], shift[0] = 0.0, 0.0  # people have two sides
    print(f"views {len(turns)} of {options.heads * len(YAWS)}, median residual {np.median(residuals):.4f} eye distances")
    print("turn, degrees:", np.degrees(turn).round(2), "spread", np.degrees(np.std(turns, axis=0)).round(2))
    print(f"scale: {scale:.4f} spread {np.std(scales):.4f}")
    print("origin, world units:", shift.round(4), "spread", np.std(shifts, axis=0).round(4))
    corrected = (np.mean(places, axis=0) - shift) @ Rotation.from_rotvec([turn[0], 0.0, 0.0]).as_matrix().T / scale
    for name, place in zip(PLACES, corrected, strict=True):
        print(f'    "{name}": ({", ".join(f"{value:.4f}" for value in place)}),')


if __name__ == "__main__":
    main()
