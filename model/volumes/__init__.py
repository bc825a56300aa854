"""Planes in space: the tri-plane, the tri-grid, the spherical tri-planes and the hy-plane behind one contract."""

from __future__ import annotations

from .base import VolumeSettings, register_volume
from .dual_sphere import DualSphereSettings
from .film_siren import FilmSirenSettings
from .hyplane import HyPlaneSettings
from .trigrid import TriGridSettings
from .triplane import TriPlaneSettings

__all__ = [
    "DualSphereSettings",
    "FilmSirenSettings",
    "HyPlaneSettings",
    "TriGridSettings",
    "TriPlaneSettings",
    "VolumeSettings",
    "register_volume",
]
