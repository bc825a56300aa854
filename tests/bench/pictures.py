"""Real photographs of 1 to 2 megapixels in any number, each with other bytes: what the speed scripts work on."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]


def originals() -> list[np.ndarray]:
    """Return the photographs at hand: skimage's astronaut and, where present, those in `shared`."""
    from skimage import data

    found = [np.asarray(data.astronaut())[..., ::-1]]
    shared = Path(os.environ.get("SPHEREHEAD_SHARED", ROOT.parent / "shared"))
    found += [cv2.imread(str(path)) for path in sorted((shared / "photos").glob("*.jpg"))]
    return found


def write_photographs(folder: Path, count: int, megapixels: float = 1.5) -> list[Path]:
    """Write `count` JPEGs of quality 92 whose pixels all differ: shifted by a few pixels and a shade.

    Args:
        folder: made if absent; files that are there already are kept.
        count: how many.
        megapixels: size of each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = originals()
    paths = []
    for index in range(count):
        path = folder / f"{index:06d}.jpg"
        paths.append(path)
        if path.exists():
            continue
        picture = pictures[index % len(pictures)]
        scale = (megapixels * 1e6 / (picture.shape[0] * picture.shape[1])) ** 0.5
        big = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
        step = index // len(pictures)
        big = big[step % 7 :, (step * 3) % 11 :]
        shaded = np.clip(big.astype(np.int16) + (step % 5 - 2), 0, 255).astype(np.uint8)
        cv2.imwrite(str(path), shaded, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return paths


def describe() -> str:
    """Return one line on the machine and the versions behind a measurement."""
    import importlib.metadata
    import platform

    names = ("numpy", "opencv-python", "mediapipe", "pillow", "pyarrow")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {versions}, load {load:.1f}"
