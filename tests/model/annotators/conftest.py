"""Small views that annotator networks are trained on in tests: balls with hair above and skin below."""

from __future__ import annotations

import json
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from spherehead.datasets.camera import Camera
from spherehead.datasets.classes import INDEX
from spherehead.datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from spherehead.datasets.shards.tar import write_shard
from spherehead.model.annotators.shown.views import Views

SIZE = 64


def members(number: int) -> dict[str, bytes]:
    """A ball with hair above and skin below, seen from somewhere."""
    random = np.random.default_rng(number)
    parsing = np.zeros((SIZE, SIZE), dtype=np.uint8)
    cv2.circle(parsing, (32, 32), 18, INDEX["skin"], -1)
    parsing[:28][parsing[:28] > 0] = INDEX["hair"]
    image = random.integers(0, 255, (SIZE, SIZE, 3)).astype(np.uint8)
    normals = np.full((SIZE, SIZE, 3), (128, 128, 255), dtype=np.uint8)
    return {
        "png": encode_image(image, Encoding("png")),
        "normal.jpg": encode_image(normals, Encoding("jpg", 95)),
        "mask.png": encode_grey(np.where(parsing > 0, np.uint8(255), np.uint8(0))),
        "seg.png": encode_grey(parsing),
        "cam.json": camera_json(Camera.look_at(float(random.uniform(-3, 3)), 0.1)),
        "points.json": json.dumps(random.normal(0.0, 0.1, (68, 3)).tolist()).encode(),
    }


@pytest.fixture(scope="session")
def balls() -> Callable[[int], dict[str, bytes]]:
    """Members of a view by number."""
    return members


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Views:
    """Six views of three people."""
    folder = tmp_path_factory.mktemp("views")
    write_shard(folder / "a.tar", "train", [(f"view{number // 2}-{number % 2:02d}", members(number)) for number in range(6)])
    return Views([folder])
