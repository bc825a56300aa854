"""Named recipes, and the stages that recipes may be made of."""

from __future__ import annotations

from collections.abc import Callable

from ..datasets.shards.codec import Encoding
from ..manifests.config import ConfigError, unknown
from .curation.duplicates import DuplicateSettings
from .recipe import Recipe
from .stage import STAGES as STAGES
from .stage import register_stage
from .stages.align import Align
from .stages.augment import Augment
from .stages.detect import Detect
from .stages.estimate_camera import EstimateCamera
from .stages.frame import Frame
from .stages.keep import Keep
from .stages.matte import Matte
from .stages.parse import Parse
from .stages.quality import Quality

for _stage in (Detect, Align, Frame, Keep, Matte, EstimateCamera, Parse, Quality, Augment):
    register_stage(_stage)


def heads() -> Recipe:
    """Photographs to labelled 512 px heads: every stage but augmentation."""
    return Recipe("heads", (Detect(), Align(), Matte(), EstimateCamera(), Parse(), Quality()))


def heads_augmented() -> Recipe:
    """As `heads`, and one augmented copy beside every sample; labels stay canonical."""
    return Recipe("heads-augmented", (*heads().stages, Augment()))


def crops() -> Recipe:
    """Found, aligned, cut out and judged, without camera and class map: for a first look at many photographs."""
    return Recipe("crops", (Detect(), Align(), Matte(), Quality()))


def aligned() -> Recipe:
    """Pictures that somebody has cropped already, with their cameras in a list or EG3D's dataset.json; nothing is detected."""
    return Recipe("aligned", (Frame(), Matte(), Quality()))


def untouched() -> Recipe:
    """Aligned pictures with their labels, pixel for pixel and number for number: for data sets of EG3D and its successors."""
    return Recipe("untouched", (Keep(),), encoding=Encoding("png"), duplicates=DuplicateSettings(near=False))


def frames() -> Recipe:
    """The path without any model: decode, cut the centre square, encode, pack."""
    return Recipe("frames", (Frame(),))


PRESETS: dict[str, Callable[[], Recipe]] = {
    "heads": heads,
    "heads-augmented": heads_augmented,
    "crops": crops,
    "aligned": aligned,
    "untouched": untouched,
    "frames": frames,
}
"""Presets by name."""


def preset(name: str) -> Recipe:
    """Return a preset.

    Raises:
        ConfigError: there is none of that name; the message suggests the nearest.
    """
    if name not in PRESETS:
        raise ConfigError(unknown(name, PRESETS, "presets"))
    return PRESETS[name]()
