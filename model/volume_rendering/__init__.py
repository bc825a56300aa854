"""Labels to rays, and volumes to pixels along them: renderers behind one contract."""

from __future__ import annotations

from .base import RendererSettings, register_renderer
from .ray_marching import MarchSettings

__all__ = ["MarchSettings", "RendererSettings", "register_renderer"]
