"""What a stage is: a frozen dataclass that holds its settings, and the open thing that does the work in one process."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from ..datasets.sample import Sample
from ..manifests.config import fingerprint, to_plain
from ..manifests.registry import Registry

S = TypeVar("S", bound="Stage")
CACHE_FORMAT = 1
"""Version of the form in which samples are kept between stages (`execution.packing`); a new one empties every cache."""


class StageUnavailable(ValueError):
    """A stage that cannot be opened with its settings: an error of the set-up, not of a file."""


class DeviceUnavailable(StageUnavailable):
    """The machine of a worker lacks the device that the build asks for: an error of the set-up, not of a file."""


@dataclass(frozen=True)
class Backend:
    """What really runs behind a stage: part of its cache key and of every row's provenance."""

    name: str
    """Such as "mediapipe"."""
    version: str = ""
    """Version of the library that runs it."""
    weights: tuple[tuple[str, str], ...] = ()
    """(file name, sha256) of every weight file it reads."""


class OpenStage(ABC):
    """A stage with its models loaded, living in one process; not shared between threads."""

    @abstractmethod
    def one(self, sample: Sample, rng: np.random.Generator) -> Iterable[Sample]:
        """Turn one sample into none, one or several.

        Raises:
            Drop: this sample is refused, with a reason; samples already returned stay.
        """

    def close(self) -> None:
        """Free models and files; called once."""


class Stage(ABC):
    """One step of a recipe. Subclasses are frozen dataclasses whose fields are the stage's settings."""

    name: ClassVar[str]
    """Word used in recipes, `--set name.field=value`, cache keys and reports."""
    version: ClassVar[int]
    """Raise it when the same settings would give other output."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of `Sample` that must be filled before."""
    gives: ClassVar[tuple[str, ...]] = ()
    """Fields of `Sample` that this stage fills or changes (scores and notes need not be named)."""

    remade: ClassVar[tuple[str, ...]] = ()
    """Fields of `gives` that the cache leaves out because `remake` makes them again, cheaper than they are to keep."""

    @property
    def crop_size(self) -> int:
        """Side in pixels of the crops that this stage cuts; 0 where it cuts none."""
        return 0

    @property
    def free_k(self) -> bool:
        """Whether its labels may have other than the canonical intrinsics."""
        return False

    @property
    def camera_file(self) -> str:
        """Path of a file of known cameras that this stage takes labels from; empty where it takes none."""
        return ""

    @property
    def takes_labels(self) -> bool:
        """Whether it takes the canonical label that a source gives of a photograph, to turn it with the crop and check it."""
        return False

    @property
    def uses_device(self) -> bool:
        """Whether `open` loads something onto the device that it is given; else the stage is CPU work anywhere."""
        return False

    def remake(self, sample: Sample) -> Sample:
        """Fill the `remade` fields of a sample restored from the cache, exactly as the stage did."""
        return sample

    def resolved(self) -> Stage:
        """Return this stage with every `auto` replaced by what it stands for on this machine."""
        return self

    def backend(self) -> Backend:
        """Say what runs behind a resolved stage."""
        return Backend("spherehead")

    @abstractmethod
    def open(self, device: str = "cpu") -> OpenStage:
        """Load models and return the working thing. Called in the process that uses it."""

    def key(self, upstream: str) -> str:
        """Return the cache key: name, version, settings, back end with weights, and the key of the stage before."""
        return fingerprint([self.name, self.version, self.settings(), to_plain(self.backend()), upstream])

    def settings(self) -> dict[str, Any]:
        """Return the settings that the output depends on, as plain data."""
        plain: dict[str, Any] = to_plain(self) if dataclasses.is_dataclass(self) else {}
        return plain


STAGES: Registry[type[Stage]] = Registry("stage")
"""Stage classes by name."""


def register_stage(stage: type[S]) -> type[S]:
    """Make a stage known to recipes under its `name`; used as a class decorator.

    Raises:
        RegistryError: another stage has the name.
    """
    STAGES.add(stage.name, stage)
    return stage
