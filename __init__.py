"""spherehead: photographs and synthetic heads into verifiable shards, and 3D-head generators trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from .api import Camera as Camera
    from .api import ConfigError as ConfigError
    from .api import Drop as Drop
    from .api import OpenStage as OpenStage
    from .api import Recipe as Recipe
    from .api import Sample as Sample
    from .api import Source as Source
    from .api import SourceImage as SourceImage
    from .api import Stage as Stage
    from .api import build_dataset as build_dataset
    from .api import generate as generate
    from .api import load_generator as load_generator
    from .api import load_plugins as load_plugins
    from .api import preset as preset
    from .api import read_manifest as read_manifest
    from .api import register_source as register_source
    from .api import register_stage as register_stage
    from .api import samples as samples
    from .api import train as train
    from .api import verify as verify
    from .api import write_report as write_report
    from .datasets.streaming.loader import Batch as Batch
    from .datasets.streaming.loader import ShardStream as ShardStream
    from .datasets.streaming.loader import StreamSettings as StreamSettings
    from .datasets.streaming.loader import open_loader as open_loader
    from .model.losses import LossTerm as LossTerm
    from .model.losses import register_term as register_term
    from .model.volume_rendering import RendererSettings as RendererSettings
    from .model.volume_rendering import register_renderer as register_renderer
    from .model.volumes import VolumeSettings as VolumeSettings
    from .model.volumes import register_volume as register_volume

_STREAMING, _LOSSES, _VOLUMES = "datasets.streaming.loader", "model.losses", "model.volumes"
_RENDERERS = "model.volume_rendering"
_HOMES = {
    "Batch": _STREAMING, "Camera": "api", "ConfigError": "api", "Drop": "api", "LossTerm": _LOSSES, "OpenStage": "api",
    "Recipe": "api", "RendererSettings": _RENDERERS, "Sample": "api", "ShardStream": _STREAMING, "Source": "api",
    "SourceImage": "api", "Stage": "api", "StreamSettings": _STREAMING,
    "VolumeSettings": _VOLUMES, "build_dataset": "api", "generate": "api", "load_generator": "api", "load_plugins": "api",
    "open_loader": _STREAMING, "preset": "api", "read_manifest": "api", "register_renderer": _RENDERERS,
    "register_source": "api", "register_stage": "api", "register_term": _LOSSES,
    "register_volume": _VOLUMES, "samples": "api", "train": "api", "verify": "api", "write_report": "api",
}  # fmt: skip
"""Public names and the modules that they come from."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import spherehead` costs nothing."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """Name what is public, for completion."""
    return sorted({*_HOMES, "__version__"})
