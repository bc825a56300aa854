"""Stages that misbehave on pictures of one colour, to see what a build makes of it; importable by spawned workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from spherehead.datasets.sample import Photo, Sample
from spherehead.pipeline.stage import OpenStage, Stage

MAGENTA = (255, 0, 255)
"""Colour of the pictures that set a stage off."""


@dataclass(frozen=True)
class Odd(Stage):
    """Passes samples on, but on magenta pictures it crashes, hangs, raises, or grows; counts its runs in a folder."""

    name: ClassVar[str] = "odd"
    version: ClassVar[int] = 1

    deed: str = "pass"
    """pass | crash | hang | raise | nap"""
    counter: str = ""
    """Folder in which a file is made for every sample that came by."""
    setting: int = 0
    """Changes nothing but the cache key."""

    def open(self, device: str = "cpu") -> OpenStage:
        return _OpenOdd(self)


class _OpenOdd(OpenStage):
    def __init__(self, settings: Odd) -> None:
        self._settings = settings

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        deed = self._settings.deed
        if self._settings.counter:
            (Path(self._settings.counter) / f"{sample.id}-{time.monotonic_ns()}-{os.getpid()}").touch()
        if deed == "nap":
            time.sleep(0.15)
        if np.abs(sample.require("image")[8, 8].astype(int) - MAGENTA).max() < 40:
            if deed == "crash":
                os._exit(9)
            if deed == "hang":
                time.sleep(600)
            if deed == "raise":
                raise ZeroDivisionError("odd")
        return [sample.with_(scores={"noise": float(rng.random())})]


@dataclass(frozen=True)
class Tint(Stage):
    """Makes the picture bluer; before there is a crop, it fills `image` from the photograph."""

    name: ClassVar[str] = "tint"
    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("image",)

    def open(self, device: str = "cpu") -> OpenStage:
        return _OpenTint()


class _OpenTint(OpenStage):
    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        image = sample.photo.pixels if sample.image is None else sample.image
        return [sample.with_(image=(image * np.array([0.5, 0.8, 1.0])).astype(np.uint8), scores={"tint": 1.0})]


@dataclass(frozen=True)
class Blunder(Stage):
    """Changes what it was given in ways that a cache of changes cannot see."""

    name: ClassVar[str] = "blunder"
    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("image",)

    deed: str = "in place"
    """in place | photo"""

    def open(self, device: str = "cpu") -> OpenStage:
        return _OpenBlunder(self.deed)


class _OpenBlunder(OpenStage):
    def __init__(self, deed: str) -> None:
        self._deed = deed

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        if self._deed == "photo":
            return [sample.with_(photo=Photo.of_pixels(sample.photo.pixels // 2))]
        sample.require("image")[:9] = 0
        return [sample]


@dataclass(frozen=True)
class Placed(Stage):
    """Fills the mask as on a device, which it notes and thus makes part of the bytes, and tells a folder where it ran."""

    name: ClassVar[str] = "placed"
    version: ClassVar[int] = 1
    gives: ClassVar[tuple[str, ...]] = ("mask",)

    told: str = ""
    """Folder in which a file is made for every sample: its name has process, CUDA_VISIBLE_DEVICES and device."""
    seconds: float = 0.0
    """Time that a sample takes."""

    def settings(self) -> dict[str, Any]:
        return {}  # neither decides a byte

    @property
    def uses_device(self) -> bool:
        return True

    def open(self, device: str = "cpu") -> OpenStage:
        return _OpenPlaced(self, device)


@dataclass(frozen=True)
class Anywhere(Placed):
    """The same without a device, for every sample."""

    name: ClassVar[str] = "anywhere"
    gives: ClassVar[tuple[str, ...]] = ()

    @property
    def uses_device(self) -> bool:
        return False


class _OpenPlaced(OpenStage):
    def __init__(self, settings: Placed, device: str) -> None:
        self._settings, self._device = settings, device

    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        time.sleep(self._settings.seconds)
        name = self._settings.name
        if self._settings.told:
            words = (name, self._device, os.environ.get("CUDA_VISIBLE_DEVICES", "unset"), os.getpid(), sample.id)
            (Path(self._settings.told) / "|".join(map(str, (*words, time.monotonic_ns())))).touch()
        mask = sample.mask if sample.mask is not None else np.full(sample.require("image").shape[:2], 255, np.uint8)
        return [sample.with_(mask=mask, notes={name: self._device})]
