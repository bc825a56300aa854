"""Grounds and things in front for training pictures: photographs from scikit-image's wheel or a folder, and drawn clutter.

Everything is drawn from the generator that is passed in. Which ground a picture gets is decided in `augmentation`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....manifests.config import ConfigError

NAMES = (
    "brick.png", "grass.png", "gravel.png", "coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png",
    "clock_motion.png", "coins.png", "camera.png", "hubble_deep_field.jpg", "text.png", "page.png", "motorcycle_right.png",
)  # fmt: skip
"""Pictures of scikit-image's wheel without a head that is to be found (the photographer of `camera` is left out by cutting)."""
PICTURES = (".jpg", ".jpeg", ".png", ".webp")


@functools.cache
def photographs(folder: str = "") -> tuple[Pixels, ...]:
    """Return the (H, W, 3) uint8 grounds of a folder, else of scikit-image's wheel, else none.

    Args:
        folder: pictures without heads; empty for those of scikit-image.

    Raises:
        ConfigError: the folder is none, or holds no picture that OpenCV reads.
    """
    if folder:
        if not Path(folder).is_dir():
            raise ConfigError(f"expected a folder of pictures for grounds, found none at {folder}")
        paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in PICTURES)
    else:
        try:
            import skimage
        except ImportError:
            return ()
        home = Path(skimage.__file__).parent / "data"
        paths = [home / name for name in NAMES if (home / name).is_file()]
    found = []
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            continue
        if not folder and path.name == "camera.png":
            image = image[:, 300:]
        found.append(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8))
    if folder and not found:
        raise ConfigError(f"expected a folder of pictures ({', '.join(PICTURES)}) for grounds, {folder} has none")
    return tuple(found)


def ground(random: np.random.Generator, size: int, folder: str = "") -> Pixels:
    """Draw an (S, S, 3) ground: plain, a gradient, smooth blots, a photograph's cut, or clutter, blurred or not."""
    kind = random.random()
    if kind < 0.15:
        made = plain(random, size)
    elif kind < 0.3:
        made = blots(random, size)
    elif kind < 0.75 and photographs(folder):
        made = cut(random, size, photographs(folder))
    else:
        made = clutter(random, size, folder)
    if random.random() < 0.35:
        made = np.asarray(cv2.GaussianBlur(made, (0, 0), float(random.uniform(0.8, 5.0))), dtype=np.uint8)
    return made


def plain(random: np.random.Generator, size: int) -> Pixels:
    """Draw one colour or a linear gradient."""
    colours = random.uniform(0, 255, (2, 3))
    if random.random() < 0.4:
        colours[1] = colours[0] = random.choice([255.0, 250.0, 128.0, 20.0]) if random.random() < 0.5 else colours[0]
    angle = random.uniform(0, 2 * np.pi)
    axis = np.linspace(-0.7, 0.7, size)
    ramp = np.clip(axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle) + 0.5, 0.0, 1.0)[..., None]
    return np.asarray(colours[0] * (1.0 - ramp) + colours[1] * ramp, dtype=np.uint8)


def blots(random: np.random.Generator, size: int) -> Pixels:
    """Draw smooth noise in colour, coarse to middling."""
    side = int(random.integers(2, 12))
    coarse = random.uniform(0, 255, (side, side, 3)).astype(np.float32)
    return np.clip(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def cut(random: np.random.Generator, size: int, pictures: tuple[Pixels, ...]) -> Pixels:
    """Cut a square out of a picture at a random place, size, side and tint."""
    picture = pictures[int(random.integers(len(pictures)))]
    short = min(picture.shape[:2])
    side = max(1, int(short * random.uniform(0.25, 1.0)))
    top, left = (int(random.integers(0, extent - side + 1)) for extent in picture.shape[:2])
    square = cv2.resize(picture[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    if random.random() < 0.5:
        square = square[:, ::-1]
    tint = np.exp(random.normal(0.0, 0.25, 3)) * np.exp(random.normal(0.0, 0.3))
    order = random.permutation(3) if random.random() < 0.3 else [0, 1, 2]
    return np.asarray(np.clip(square[..., order] * tint, 0, 255), dtype=np.uint8)


def clutter(random: np.random.Generator, size: int, folder: str = "") -> Pixels:
    """Draw boxes, discs and lines on a ground."""
    made = np.ascontiguousarray(cut(random, size, photographs(folder)) if photographs(folder) else plain(random, size))
    for _ in range(int(random.integers(3, 14))):
        shape(random, made, made, 0.05, 0.5)
    return made


def shape(random: np.random.Generator, onto: Array, like: Pixels, smallest: float, largest: float) -> None:
    """Draw one filled ellipse, turned box or thick line of a random colour onto an (S, S, 3) picture, in place.

    Args:
        random: what everything is drawn from.
        onto: picture that is changed.
        like: picture whose pixels give half of the colours.
        smallest: least extent as a share of the side.
        largest: greatest extent.
    """
    size = onto.shape[0]
    extent = size * random.uniform(smallest, largest, 2)
    centre = random.uniform(0, size, 2)
    colour = random.uniform(0, 255, 3)
    if random.random() < 0.5:
        row, column = random.integers(0, size, 2)
        colour = like[row, column].astype(np.float64)
    angle = float(random.uniform(0, 180))
    box = ((float(centre[0]), float(centre[1])), (float(extent[0]), float(extent[1])), angle)
    kind = random.random()
    if kind < 0.4:
        cv2.ellipse(onto, box, colour.tolist(), -1, cv2.LINE_AA)
    elif kind < 0.8:
        cv2.fillPoly(onto, [np.asarray(cv2.boxPoints(box), dtype=np.int32)], colour.tolist(), cv2.LINE_AA)
    else:
        ends = random.uniform(0, size, (2, 2)).astype(int)
        width = max(1, int(extent.min() * 0.3))
        cv2.line(onto, tuple(ends[0].tolist()), tuple(ends[1].tolist()), colour.tolist(), width, cv2.LINE_AA)
