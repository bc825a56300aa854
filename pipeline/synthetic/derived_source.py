"""Sources whose files depend on what was kept of the others: what they are told of it, and what they answer.

They are listed in a second pass, once everything else is worked on; `building.derived` reads what was kept.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...datasets.sample import SourceImage
from ...datasets.sources.base import Refused, Source
from ..recipe import Recipe
from .people.appearance import Appearance


@dataclass(frozen=True)
class KeptHead:
    """What a derived source may know of a head that the set keeps."""

    id: str
    yaw: float
    """Azimuth of the camera in radians."""
    pitch: float
    """Elevation of the camera in radians."""
    appearance: Appearance | None
    """Colours of a photographed person; None where the head is rendered or nothing tells its skin from its hair."""


class DerivedSource(Source):
    """A source that is listed after all others are worked on."""

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name no file: there are none before the others are known."""
        return iter(())

    @abstractmethod
    def derived(self, kept: Sequence[KeptHead], recipe: Recipe) -> Iterator[SourceImage | Refused]:
        """Name the files that follow from what was kept, in a stable order.

        Args:
            kept: heads with a camera, by id.
            recipe: the build's.
        """
