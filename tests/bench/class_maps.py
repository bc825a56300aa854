"""Where class maps lie: the parser's maps of rendered crops against exact classes of every pixel, and moved up and down.

What `annotators evaluate` compares with are the first pixels of every 2 x 2, which the network learns; here the whole map
counts that `parse` writes of a head without a face mesh, given the exact matte. A map that lies where the picture has it is
best unmoved. With --as-read maps are left as the network told them.

    spherehead annotators views --hair grown --children --wear --size 320 --count 60 --views 6 --seed 88203 --out held
    python tests/bench/class_maps.py held
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from spherehead.datasets.classes import CLASSES, swap_sides
from spherehead.manifests.identity import rng
from spherehead.model.annotators.shown.augmentation import CropGeometry, laid, lit_crop
from spherehead.model.annotators.shown.grounds import ground
from spherehead.model.annotators.shown.views import Views
from spherehead.pipeline.annotators.heads import parser
from spherehead.pipeline.annotators.heads.parsing import parse_crop

SIZE = 512
MOVES = (0.0, -2.0, -1.0, 1.0, 2.0)
"""Pixels by which a map is moved down."""
SHOWN = ("hair", "skin", "left_brow", "right_brow", "left_eye", "right_eye", "upper_lip", "lower_lip", "nose", "left_ear")


def drawn(views: Views, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a canonical crop of a view on a ground, (S, S, 3), its (S, S) matte and its (S, S) classes."""
    random = rng(1, str(number), "class maps")
    view = views.view(int(random.integers(len(views))))
    geometry = CropGeometry(bool(random.random() < 0.5), float(random.normal(0.0, 0.05)), 1.0, (0.0, 0.0))
    image, mask, classes = lit_crop(random, view, geometry, SIZE)
    picture = laid(random, ground(random, SIZE, "").astype(np.float32), image, mask)
    return np.clip(picture, 0, 255).astype(np.uint8), mask, swap_sides(classes) if geometry.mirror else classes


def moved(classes: np.ndarray, down: float) -> np.ndarray:
    """Move a class map by whole pixels; the border is repeated."""
    matrix = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, down]])
    how = {"flags": cv2.INTER_NEAREST, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(classes, matrix, classes.shape[::-1], **how)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("folders", nargs="+", type=Path, help="views that nothing was trained on")
    words.add_argument("--count", type=int, default=120, help="crops")
    words.add_argument("--as-read", action="store_true", help="leave maps where the network told them")
    options = words.parse_args()
    cv2.setNumThreads(1)
    if options.as_read:
        parser.centred = lambda told: told
    views, reader = Views(options.folders), parser.HeadParser()
    counts = {down: np.zeros((2, len(CLASSES))) for down in MOVES}
    for number in range(options.count):
        picture, mask, truth = drawn(views, number)
        found = parse_crop(reader.read(picture), picture, mask, None).classes
        for down, (both, either) in counts.items():
            said = moved(found, down)
            for kind in range(len(CLASSES)):
                both[kind] += np.count_nonzero((said == kind) & (truth == kind))
                either[kind] += np.count_nonzero((said == kind) | (truth == kind))
    for down, (both, either) in counts.items():
        iou = both[either > 0] / either[either > 0]
        by_class = dict(zip(np.array(CLASSES)[either > 0].tolist(), iou, strict=True))
        told = " ".join(f"{name} {by_class[name]:.3f}" for name in SHOWN if name in by_class)
        print(f"moved down {down:+.0f} px: mean IoU {iou.mean():.4f}; {told}")


if __name__ == "__main__":
    main()
