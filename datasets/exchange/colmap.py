"""COLMAP's text model: cameras.txt and images.txt, as pictures with cameras.

Points are not read, and the binary model is left to COLMAP's own converter.
"""

from __future__ import annotations

import numpy as np

from ...manifests.config import ConfigError
from ..camera import Camera
from .cameras import Pinhole, normalised
from .scenes import Frame

PLACES = ("sparse/0/", "sparse/", "")
"""Folders in which a model is looked for."""
FOCALS = {"SIMPLE_PINHOLE": 1, "PINHOLE": 2, "SIMPLE_RADIAL": 1, "RADIAL": 1, "OPENCV": 2}
"""Focal lengths of each camera model that is read; two coordinates of the centre and distortion, which must be 0, follow."""


def read_colmap(cameras: bytes, images: bytes) -> list[Frame]:
    """Read every picture's name, camera and size; poses stay in the model's own world.

    Args:
        cameras: cameras.txt.
        images: images.txt.

    Raises:
        ConfigError: they are no such files, or a lens is distorted; the message names file and line.
    """
    from scipy.spatial.transform import Rotation

    lenses: dict[int, tuple[Pinhole, int, int]] = {}
    for number, words in _lines("cameras.txt", cameras, skip_empty=True):
        try:
            lenses[int(words[0])] = _lens(words)
        except (ValueError, IndexError, OverflowError) as error:
            raise ConfigError(f"cameras.txt, line {number}: {error}") from error
    found: list[Frame] = []
    rows = list(_lines("images.txt", images, skip_empty=False))
    while rows and not rows[-1][1] and len(rows) % 2:
        rows.pop()
    for number, words in rows[::2]:  # every second line lists points
        try:
            if len(words) < 10:
                raise ValueError(f"expected IMAGE_ID, 7 numbers, CAMERA_ID and NAME, got {len(words)} words")
            if int(words[8]) not in lenses:
                raise ValueError(f"expected a camera of cameras.txt, got {int(words[8])}")
            lens, width, height = lenses[int(words[8])]
            w, x, y, z, *shift = (float(word) for word in words[1:8])
            rotation = Rotation.from_quat([x, y, z, w]).as_matrix().T
            cam2world = np.eye(4)
            cam2world[:3, :3], cam2world[:3, 3] = rotation, -rotation @ np.array(shift)
            camera = Camera(cam2world, normalised(lens, width, height))
            found.append(Frame(" ".join(words[9:]), camera, (width, height)))
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"images.txt, line {number}: {error}") from error
    return found


def _lines(name: str, data: bytes, skip_empty: bool) -> list[tuple[int, list[str]]]:
    """Return number and words of every line that is no comment."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        hint = "write text with `colmap model_converter --output_type TXT`"
        raise ConfigError(f"expected {name} as text, got other bytes ({error}); {hint}") from error
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1) if not line.lstrip().startswith("#")]
    return [row for row in rows if row[1] or not skip_empty]


def _lens(words: list[str]) -> tuple[Pinhole, int, int]:
    """Return intrinsics, width and height of CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS."""
    model, width, height = words[1], int(words[2]), int(words[3])
    if model not in FOCALS:
        raise ValueError(
            f"expected one of {', '.join(FOCALS)} as the camera's model, got {model}; undistort the pictures first"
        )
    numbers, count = [float(word) for word in words[4:]], FOCALS[model]
    if len(numbers) < count + 2 or min(width, height) < 1:
        raise ValueError(f"expected a size and {count + 2} or more parameters of {model}, got {' '.join(words[2:])}")
    if any(abs(value) > 1e-9 for value in numbers[count + 2 :]):
        raise ValueError("lens distortion is not read; undistort the pictures first (colmap image_undistorter)")
    return Pinhole(numbers[0], numbers[count - 1], numbers[count], numbers[count + 1]), width, height
