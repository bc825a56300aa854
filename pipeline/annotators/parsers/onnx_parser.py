"""A face-parsing network's answer in the 19 classes of this toolkit: any ONNX file, with a class map that says its order.

The network itself runs in `onnx_session`; the matte, the settings and the confidence's use are left to `stages.parse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.classes import CLASSES, INDEX, MIRROR_PAIRS
from ....manifests.config import ConfigError, load_plain, unknown, user_path
from ...backends.onnx_session import OnnxModel, prepare

SHIPPED = ("celebamask-hq", "segformer")
"""Class maps that come with the package."""


def class_map_path(name: str) -> Path:
    """Return the file of a class map: one of `SHIPPED` by name, or the user's own path."""
    if name in SHIPPED:
        return Path(str(resources.files(__package__).joinpath(f"data/{name}.json")))
    return user_path(name)


def load_class_map(name: str) -> Pixels:
    """Read a class map.

    Args:
        name: a name of `SHIPPED`, or a JSON or YAML file with a list `classes`: for each index of the network the name of a
            class of `datasets.classes`, or null for what is to count as background.

    Returns:
        (n,) uint8: our class for each of the network's.

    Raises:
        ConfigError: no such file, no such list, or a class that does not exist.
    """
    path = class_map_path(name)
    if not path.is_file():
        raise ConfigError(f"no class map {name!r}: expected one of {', '.join(SHIPPED)} or the path of a JSON or YAML file")
    plain = load_plain(path)
    names = plain.get("classes") if isinstance(plain, dict) else plain
    if not isinstance(names, list) or not names:
        raise ConfigError(f"{path}: expected a list 'classes' with one class name for each index of the network")
    for entry in names:
        if entry is not None and entry not in INDEX:
            raise ConfigError(f"{path}: " + unknown(str(entry), CLASSES, "the class map").replace("field", "class"))
    return np.array([0 if entry is None else INDEX[entry] for entry in names], dtype=np.uint8)


@dataclass(frozen=True)
class Answer:
    """What a network said of a crop."""

    classes: Pixels
    """(S, S) uint8 in our classes, before the matte has a say."""
    certainty: Array
    """(S, S) float32 probability of the chosen class; 1 where the network gives no probabilities."""


def run(model: OnnxModel, table: Pixels, image: Pixels, size: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Answer:
    """Run a parsing network on a crop.

    Its first output may be scores (1, C, h, w), which are enlarged before the strongest is taken, or labels (1, h, w) or
    (1, 1, h, w).

    Args:
        model: the network.
        table: (n,) class map.
        image: (S, S, 3) uint8 RGB crop.
        size: side of the network's input.
        mean: of RGB in 0..1, subtracted.
        std: of RGB in 0..1, divided by.

    Raises:
        ConfigError: the output has another shape, or more classes than the map.
    """
    output = model(prepare(image, size, mean, std))[0]
    side = image.shape[0]
    if output.ndim == 4 and output.shape[1] > 1:
        return _strongest(model.path, output[0].astype(np.float32), table, side)
    if output.ndim in (3, 4) and output.size == output.shape[-1] * output.shape[-2]:
        labels = np.asarray(np.round(output.reshape(output.shape[-2:])), dtype=np.int64)
        _check_range(model.path, int(labels.min()), int(labels.max()) + 1, table)
        mapped = cv2.resize(table[labels], (side, side), interpolation=cv2.INTER_NEAREST)
        return Answer(np.asarray(mapped), np.ones((side, side), dtype=np.float32))
    raise ConfigError(f"{model.path}: expected scores (1, C, h, w) or labels (1, h, w) as first output, got {output.shape}")


def _strongest(path: Path, scores: Array, table: Pixels, side: int) -> Answer:
    """Take the strongest class of (C, h, w) scores at full size, with its probability."""
    _check_range(path, 0, len(scores), table)
    best = np.full((side, side), -np.inf, dtype=np.float32)
    index = np.zeros((side, side), dtype=np.uint8)
    total = np.zeros((side, side), dtype=np.float32)
    top = float(scores.max())
    for kind, plane in enumerate(scores):
        enlarged = cv2.resize(plane, (side, side), interpolation=cv2.INTER_LINEAR)
        better = enlarged > best
        index[better] = kind
        best = np.maximum(best, enlarged)
        total += np.exp(np.clip(enlarged - top, -60.0, 0.0))
    certainty = np.exp(np.clip(best - top, -60.0, 0.0)) / np.maximum(total, np.float32(1e-30))
    return Answer(table[index], np.asarray(np.clip(certainty, 0.0, 1.0), dtype=np.float32))


def _check_range(path: Path, lowest: int, count: int, table: Pixels) -> None:
    if lowest < 0 or count > len(table):
        raise ConfigError(f"{path} gives {count} classes, the class map names {len(table)}; choose the map of this network")


def within_matte(classes: Pixels, inside: Array) -> Pixels:
    """Make a class map agree with the matte: nothing outside, and inside the nearest class where the network saw nothing.

    Args:
        classes: (S, S) uint8 class map.
        inside: (S, S) boolean.

    Returns:
        (S, S) uint8; all background if the network saw nothing inside.
    """
    within = classes * inside
    seen = within > 0
    unseen = np.flatnonzero(seen < inside)
    places = np.flatnonzero(seen)
    if not unseen.size or not places.size:
        return within
    _, nearest = cv2.distanceTransformWithLabels((~seen).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    by_label = np.zeros(seen.size + 1, dtype=np.uint8)
    labels = nearest.reshape(-1)
    by_label[labels[places]] = within.reshape(-1)[places]
    within.reshape(-1)[unseen] = by_label[labels[unseen]]
    return within


def sides_by_place(classes: Pixels, places: dict[str, Floats]) -> Pixels:
    """Give brows, eyes and ears the side on which they lie.

    Args:
        classes: (S, S) uint8 class map.
        places: expected (2,) pixel of each of the paired classes.
    """
    rows, columns = np.mgrid[0 : classes.shape[0], 0 : classes.shape[1]] + 0.5
    sided = classes.copy()
    for left, right in MIRROR_PAIRS:
        paired = (classes == left) | (classes == right)
        to_left, to_right = (
            (columns[paired] - places[CLASSES[kind]][0]) ** 2 + (rows[paired] - places[CLASSES[kind]][1]) ** 2
            for kind in (left, right)
        )
        sided[paired] = np.where(to_left <= to_right, left, right)
    return sided
