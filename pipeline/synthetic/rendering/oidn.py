"""Cleans path-traced pictures with Intel's Open Image Denoise, guided by exact colours and normals: few samples look like many.

The only module that imports mitsuba_oidn. One thread of its own a filter, so that bytes depend on no number of threads; they
may differ between kinds of processors. The cleaner that needs no package is `denoise`.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache, lru_cache
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from .exact_pass import View
from .exposure import window_of
from .render import RenderError

BLOCK = 16
"""Pixels by which the part that is cleaned grows."""


@cache
def _device() -> Any:
    try:
        import mitsuba_oidn
    except ImportError as error:
        raise RenderError("mitsuba-oidn is not installed; pip install 'spherehead-toolkit[synthetic]'") from error
    device = mitsuba_oidn.Device(mitsuba_oidn.DeviceType.CPU)
    device.num_threads = 1
    return device


def oidn_version() -> str:
    """Return the name and version of the denoiser for manifests.

    Raises:
        RenderError: it is not installed.
    """
    _device()
    return f"mitsuba-oidn {importlib.metadata.version('mitsuba-oidn')}, high quality"


class _Filter:
    """One filter for pictures of one size, with its buffers."""

    def __init__(self, height: int, width: int) -> None:
        import mitsuba_oidn

        shape = (height, width, 3)
        self.colour, self.albedo, self.normals, self.cleaned = (np.zeros(shape, dtype=np.float32) for _ in range(4))
        self._filter = _device().new_filter("RT")
        for name, image in (
            ("color", self.colour), ("albedo", self.albedo), ("normal", self.normals), ("output", self.cleaned),
        ):  # fmt: skip
            self._filter.set_image(name, image)
        self._filter.hdr, self._filter.clean_aux, self._filter.input_scale = True, True, 1.0
        self._filter.quality = mitsuba_oidn.Quality.High

    def run(self) -> None:
        """Fill `cleaned` from the other buffers."""
        self._filter.execute()


@lru_cache(maxsize=8)
def _filter_of(height: int, width: int) -> _Filter:
    return _Filter(height, width)


def clean(picture: Array, view: View, gain: float) -> Array:
    """Return an (S, S, 4) float32 rendered picture without noise, its opacity the exact coverage.

    Args:
        picture: premultiplied linear colours and opacity, as Mitsuba gives them.
        view: exact labels of the same camera, with albedo.
        gain: factor that brings white near 1, on which the network's scale rests; it is taken out again.
    """
    assert view.albedo is not None
    whole = np.zeros_like(picture, dtype=np.float32)
    window = window_of(view.mask)
    if window is None:
        return whole
    left, top, right, bottom = window
    part = np.s_[_blocks(top, bottom, len(picture)), _blocks(left, right, len(picture))]
    filter_, cover = _filter_of(*picture[part].shape[:2]), view.mask[part].astype(np.float32)[..., None] / np.float32(255.0)
    filter_.colour[:] = picture[part][..., :3] * np.float32(gain)
    filter_.albedo[:] = view.albedo[part] * cover
    filter_.normals[:] = view.normals[part]
    filter_.run()
    whole[part] = np.dstack([np.where(cover > 0, filter_.cleaned / np.float32(gain), np.float32(0.0)), cover])
    return whole


def _blocks(start: int, stop: int, size: int) -> slice:
    """Widen a stretch of pixels to whole blocks, as the network has them, inside a picture: few sizes need few filters."""
    length = min(-(-(stop - start) // BLOCK) * BLOCK, size)
    start = min(start, size - length)
    return slice(start, start + length)
