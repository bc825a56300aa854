"""Labels to rays, and volumes to pixels along them: renderers behind one contract."""

from __future__ import annotations

from .base import RendererSettings, register_renderer
from .manifolds import ManifoldSettings
from .ray_marching import MarchSettings
from .splats.splats import SplatSettings
from .surfaces.surface import SurfaceRendererSettings

__all__ = [
    "ManifoldSettings",
    "MarchSettings",
    "RendererSettings",
    "SplatSettings",
    "SurfaceRendererSettings",
    "register_renderer",
]
