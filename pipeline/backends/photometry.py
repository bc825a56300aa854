"""Random changes of light, colour, noise, focus and compression: the module that wraps albumentations.

Pixels keep their places, so labels do not change; what moves pixels is left to `stages.geometry`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets.arrays import Pixels


@dataclass(frozen=True)
class Tone:
    """Brightness, contrast and gamma."""

    chance: float = 0.5
    """Share of copies that are changed, 0 to 1."""
    brightness: float = 0.08
    """Largest change of brightness, as a share of the range."""
    contrast: float = 0.1
    """Largest relative change of contrast."""
    gamma: float = 0.1
    """Largest relative change of gamma."""


@dataclass(frozen=True)
class Tint:
    """Hue and saturation."""

    chance: float = 0.0
    """Share of copies that are changed, 0 to 1."""
    hue_degrees: float = 4.0
    """Largest turn of the hue."""
    saturation: float = 0.1
    """Largest change of saturation, as a share of the range."""


@dataclass(frozen=True)
class Noise:
    """White noise, each channel apart."""

    chance: float = 0.0
    """Share of copies that are changed, 0 to 1."""
    low: float = 0.005
    """Least standard deviation, as a share of the range."""
    high: float = 0.02
    """Largest standard deviation, as a share of the range."""


@dataclass(frozen=True)
class Blur:
    """Gaussian blur."""

    chance: float = 0.0
    """Share of copies that are changed, 0 to 1."""
    low: float = 0.3
    """Least deviation in pixels of the crop."""
    high: float = 1.0
    """Largest deviation in pixels of the crop."""


@dataclass(frozen=True)
class Compression:
    """JPEG compression."""

    chance: float = 0.0
    """Share of copies that are changed, 0 to 1."""
    low: int = 60
    """Least quality, 1 to 100."""
    high: int = 95
    """Largest quality, 1 to 100."""


@dataclass(frozen=True)
class Photometry:
    """What light and cameras do to a picture, in the order of the fields.

    Only tone is on by default: a generator learns to draw whatever noise, blur and blocks its training pictures show.
    """

    tone: Tone = Tone()
    """Brightness, contrast and gamma."""
    tint: Tint = Tint()
    """Hue and saturation."""
    blur: Blur = Blur()
    """Gaussian blur."""
    noise: Noise = Noise()
    """White noise."""
    jpeg: Compression = Compression()
    """JPEG compression."""

    def __post_init__(self) -> None:
        for name, part in vars(self).items():
            if not 0.0 <= part.chance <= 1.0:
                raise ValueError(f"{name}.chance: expected 0 to 1, got {part.chance}")
            if getattr(part, "low", 0) > getattr(part, "high", 0):
                raise ValueError(f"{name}: expected low <= high, got {part.low} > {part.high}")
        if not 1 <= self.jpeg.low <= self.jpeg.high <= 100:
            raise ValueError(f"jpeg: expected qualities from 1 to 100, got {self.jpeg.low} to {self.jpeg.high}")
        if not (self.noise.low >= 0 and self.noise.high <= 1 and self.blur.low >= 0):
            came = f"{self.noise} and {self.blur}"
            raise ValueError(f"noise and blur: expected deviations of 0 or more, of noise up to 1, got {came}")
        if not (0 <= self.tint.hue_degrees <= 180 and 0 <= self.tint.saturation <= 1):
            raise ValueError(f"tint: expected a hue of 0 to 180 degrees and a saturation of 0 to 1, got {self.tint}")
        if not (0 <= self.tone.contrast < 1 and 0 <= self.tone.gamma < 1 and 0 <= self.tone.brightness < 1):
            raise ValueError(f"tone: expected changes of 0 to below 1, got {self.tone}")

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever changed."""
        return all(part.chance == 0.0 for part in vars(self).values())


class Darkroom:
    """A loaded pipeline of albumentations; what it does to a picture depends on the settings and the seed alone."""

    def __init__(self, settings: Photometry) -> None:
        """Build the transforms.

        Raises:
            ModuleNotFoundError: albumentations is not installed; the message has the pip line.
        """
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks PyPI for news on import
        try:
            import albumentations as transforms
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("albumentations is not installed; pip install albumentations==2.0.8") from error
        tone, tint, blur, noise, jpeg = settings.tone, settings.tint, settings.blur, settings.noise, settings.jpeg
        gamma = (100 * (1 - tone.gamma), 100 * (1 + tone.gamma))
        blurred = blur.chance * bool(blur.high)  # a Gaussian of no width is 0 / 0, and every pixel black
        steps: list[tuple[float, Callable[[float], Any]]] = [
            (tone.chance, lambda p: transforms.RandomBrightnessContrast(tone.brightness, tone.contrast, p=p)),
            (tone.chance * bool(tone.gamma), lambda p: transforms.RandomGamma(gamma, p=p)),
            (tint.chance, lambda p: transforms.HueSaturationValue(tint.hue_degrees / 2, 255 * tint.saturation, 0, p=p)),
            (blurred, lambda p: transforms.GaussianBlur(sigma_limit=(blur.low, blur.high), blur_limit=0, p=p)),
            (noise.chance, lambda p: transforms.GaussNoise(std_range=(noise.low, noise.high), p=p)),
            (jpeg.chance, lambda p: transforms.ImageCompression("jpeg", (jpeg.low, jpeg.high), p=p)),
        ]
        self._pipeline = transforms.Compose([make(chance) for chance, make in steps if chance > 0], save_applied_params=True)

    def develop(self, image: Pixels, seed: int) -> tuple[Pixels, list[dict[str, Any]]]:
        """Change a picture.

        Args:
            image: (H, W, 3) uint8; not written to.
            seed: decides everything, whatever was developed before.

        Returns:
            The new picture, and the steps that ran as plain data: "op" and its drawn numbers.
        """
        self._pipeline.set_random_seed(seed)
        result = self._pipeline(image=image)
        steps = [{"op": name, **_numbers(drawn)} for name, drawn in result["applied_transforms"]]
        return np.ascontiguousarray(result["image"], dtype=np.uint8), steps


def version() -> str:
    """Return the version of albumentations."""
    from importlib.metadata import version

    return version("albumentations")


def _numbers(drawn: dict[str, Any]) -> dict[str, float]:
    """Return the drawn values that are plain numbers, rounded; maps and kernels follow from the seed."""
    return {name: round(float(value), 6) for name, value in sorted(drawn.items()) if isinstance(value, int | float)}
