"""Accuracy of single readings of a head by the side of their square, of all of them together, and how shoulders mislead them.

Crops of views that nothing was trained on, laid into larger pictures as heads lie in photographs; boxes are off as a finder's
are. The last line is what a label says: the readings of `detect` and of the crop, each by its spread. Of views with turned
necks (`annotators views --necks`) the slope of the azimuth's error over the neck's turn is told too: 0 where shoulders do not
count, 1 where nothing else does.

    spherehead annotators views --hair grown --children --pitch 22 --wear --size 320 --count 60 --views 6 --seed 88203 --out new
    python tests/bench/readings.py new --count 600
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from spherehead.datasets.camera import geodesic, mean_rotation
from spherehead.manifests.identity import rng
from spherehead.model.annotators.evaluation import calm
from spherehead.model.annotators.shown.views import Views, person_of
from spherehead.model.annotators.tasks import HeadTask
from spherehead.pipeline.annotators.faces.head_fit import camera_of
from spherehead.pipeline.annotators.heads.reader import HeadReader, Square, joined_turns, next_square
from spherehead.pipeline.synthetic.people.population import draw_neck

SIDES = (1.0, 1.12, 1.25, 1.4, 1.6)
"""Sides of squares about the head's true place, in those of the canonical crop."""
BANDS = (("front", 0.0, 60.0), ("side", 60.0, 110.0), ("behind", 110.0, 181.0))
SIZE = 384


def turn_on_body(views: Views, index: int, mirrored: bool) -> float:
    """Return the angle in radians by which a view's head is turned aside on its body."""
    name = person_of(views.keys[index], views.members[index])
    turn = draw_neck(rng(int(name.split("-")[1]), name, "neck"))[1]
    return -turn if mirrored else turn


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folders", nargs="+", type=Path, help="views that nothing was trained on")
    words.add_argument("--count", type=int, default=600, help="crops")
    words.add_argument("--necks", action="store_true", help="the views' necks are turned: tell the slope")
    words.add_argument("--networks", default="", help="folder with head.onnx and its card")
    options = words.parse_args()
    views, reader = Views(options.folders), HeadReader(networks=options.networks)
    task = HeadTask(views, seed=1)
    crops = replace(
        calm(task).crops, size=SIZE, grey=0.12, least_scale=0.4, most_scale=0.55, roll_degrees=8.0, others=0.2, shift=0.02
    )
    task = replace(task, crops=crops)
    rows = []
    for number in range(options.count):
        crop, random = task.crop(number), np.random.default_rng(number)
        centre, side = SIZE / 2.0 * (crop.place[:2] + 1.0), SIZE * math.exp(float(crop.place[2]))
        found = {f"{wide}": reader.read(crop.image, Square(*centre, wide * side)).rotation for wide in SIDES}
        width, height = (size * side * math.exp(float(random.normal(0.0, 0.08))) for size in (0.84, 0.95))
        x, y = centre + random.normal(0.0, 0.05 * side, 2)
        pose = reader.settle(crop.image, (x - width / 2.0, y - height / 2.0, width, height)).pose
        upright = next_square(reader.read(crop.image, Square(*pose.centre, pose.scale))).angle
        last = reader.read(crop.image, Square(*pose.centre, pose.scale, upright))
        halves, _ = joined_turns([(pose.halves, pose.spread), (last.halves, last.spread)])
        found |= {"crop": last.rotation, "label": mean_rotation(halves)}
        yaw, index = camera_of(crop.rotation).yaw, task.chosen(number)
        mirrored = views.view(index).camera.yaw * yaw < 0.0
        turned = turn_on_body(views, index, mirrored) if options.necks else 0.0
        off = {name: math.remainder(camera_of(rotation).yaw - yaw, 2.0 * math.pi) for name, rotation in found.items()}
        errors = {name: math.degrees(geodesic(rotation, crop.rotation)) for name, rotation in found.items()}
        rows.append((math.degrees(abs(yaw)), math.degrees(turned), errors, off))
    for band, low, high in BANDS:
        chosen = [row for row in rows if low <= row[0] < high]
        print(f"{band}: {len(chosen)} crops")
        for name in (*map(str, SIDES), "crop", "label"):
            errors = np.array([row[2][name] for row in chosen])
            told = f"  {name:6} median {np.median(errors):5.2f}, within 20 degrees {100.0 * (errors < 20.0).mean():5.1f} %"
            if options.necks:
                aside = np.clip(np.degrees([row[3][name] for row in chosen]), -60.0, 60.0)
                told += f", slope over the neck {np.polyfit([row[1] for row in chosen], aside, 1)[0]:+.2f}"
            print(told)


if __name__ == "__main__":
    main()
