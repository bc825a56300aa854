"""Planes in space: the tri-plane, the tri-grid, the spherical tri-planes and the hy-plane behind one contract."""

from __future__ import annotations

from .dual_sphere import DualSphereSettings
from .hyplane import HyPlaneSettings
from .trigrid import TriGridSettings
from .triplane import TriPlaneSettings

VolumeSettings = DualSphereSettings | HyPlaneSettings | TriGridSettings | TriPlaneSettings
"""Settings of any volume; their `kind` tells them apart in a file, and `open()` makes the volume."""
