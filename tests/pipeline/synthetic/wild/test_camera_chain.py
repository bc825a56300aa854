"""The camera chain changes light, never geometry, and gives the same bytes for the same numbers."""

from __future__ import annotations

import cv2
import numpy as np
from spherehead.datasets.kernels import disk, line
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.wild.backgrounds import draw_ground
from spherehead.pipeline.synthetic.wild.camera_chain import expose_and_store

SIZE = 96


def spot(x: float, y: float) -> np.ndarray:
    """A bright Gaussian on grey, its middle at continuous pixels."""
    axis = np.arange(SIZE) + 0.5
    bell = np.exp(-((axis[None, :] - x) ** 2 + (axis[:, None] - y) ** 2) / (2 * 4.0**2))
    return np.repeat((0.05 + 0.5 * bell)[..., None], 3, axis=2).astype(np.float32)


def middle_of(picture: np.ndarray) -> np.ndarray:
    grey = picture.astype(np.float64).mean(axis=2)
    weight = np.clip(grey - grey.min() - 0.5 * (grey.max() - grey.min()), 0.0, None)
    axis = np.arange(SIZE) + 0.5
    return np.array([(weight.sum(axis=0) * axis).sum(), (weight.sum(axis=1) * axis).sum()]) / weight.sum()


def test_what_is_pictured_stays_in_its_place() -> None:
    """Forty chains of blurs, noises, resizings, halos and JPEGs: the spot's middle moves by noise alone, not to one side."""
    moved = []
    for number in range(40):
        picture, _ = expose_and_store(spot(47.3, 40.8), rng(1, str(number), "camera"))
        moved.append(middle_of(picture) - middle_of(np.asarray(spot(47.3, 40.8))))
    assert np.abs(np.median(moved, axis=0)).max() < 0.05
    assert np.quantile(np.abs(moved), 0.9) < 0.35


def test_kernels_are_symmetric_and_keep_the_light() -> None:
    for kernel in (disk(0.7), disk(2.6), line(5.0, 0.7), line(9.0, 2.0)):
        assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
        assert abs(float(kernel.sum()) - 1.0) < 1e-5
        assert kernel.shape[0] % 2 == 1


def test_the_file_shows_the_picture_and_comes_again() -> None:
    light = spot(20.0, 30.0)
    picture, data = expose_and_store(light, rng(2, "a", "camera"))
    again, same = expose_and_store(light, rng(2, "a", "camera"))
    assert data == same
    assert (picture == again).all()
    assert (cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1] == picture).all()


def test_grounds_differ_and_come_again() -> None:
    grounds = [draw_ground(rng(1, str(number), "ground"), 64) for number in range(12)]
    assert len({ground.tobytes() for ground in grounds}) == 12
    assert all((ground == draw_ground(rng(1, str(number), "ground"), 64)).all() for number, ground in enumerate(grounds))
