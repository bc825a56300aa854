"""Cleans path-traced pictures with Intel's Open Image Denoise, guided by exact colours and normals: few samples look like many.

The only module that imports mitsuba_oidn. One thread of its own a filter, so that bytes depend on no number of threads; they
may differ between kinds of processors. The cleaner that needs no package is `denoise`.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from .exact_pass import View
from .render import RenderError


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

    def __init__(self, size: int) -> None:
        import mitsuba_oidn

        self.colour, self.albedo, self.normals, self.cleaned = (np.zeros((size, size, 3), dtype=np.float32) for _ in range(4))
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


@cache
def _filter_of(size: int) -> _Filter:
    return _Filter(size)


def clean(picture: Array, view: View, gain: float) -> Array:
    """Return an (S, S, 4) float32 rendered picture without noise, its opacity the exact coverage.

    Args:
        picture: premultiplied linear colours and opacity, as Mitsuba gives them.
        view: exact labels of the same camera, with albedo.
        gain: factor that brings white near 1, on which the network's scale rests; it is taken out again.
    """
    assert view.albedo is not None
    filter_ = _filter_of(picture.shape[0])
    cover = view.mask.astype(np.float32) / np.float32(255.0)
    filter_.colour[:] = picture[..., :3] * np.float32(gain)
    filter_.albedo[:] = view.albedo * cover[..., None]
    filter_.normals[:] = view.normals
    filter_.run()
    cleaned = np.where(cover[..., None] > 0, filter_.cleaned / np.float32(gain), np.float32(0.0))
    return np.dstack([cleaned, cover]).astype(np.float32)
