"""Stages that misbehave on pictures of one colour, to see what a build makes of it; importable by spawned workers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from spherehead.datasets.sample import Sample
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
