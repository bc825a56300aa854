"""What a source of photographs is: it names its files in a stable order and reads them.

Kinds of sources have modules of their own; what the bytes of a file are is the business of `images`. A source is cheap to
send to another process, which then reads for itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ...manifests.registry import Registry, RegistryError
from ..sample import SourceImage

AnyOpener = TypeVar("AnyOpener", bound="Opener")
MAX_BYTES = 512 << 20
"""Default limit of one file, as `DecodePolicy.max_bytes`."""


class SourceError(ValueError):
    """A source that cannot be opened at all; the message says what was expected and what to do."""


@dataclass(frozen=True)
class Refused:
    """A thing in a source that is no file to read, kept for the accounting."""

    source: str
    path: str
    reason: str
    """Code of `reasons.REASONS`."""
    detail: str = ""


class Source(ABC):
    """A place with photographs. Subclasses are small, picklable and open their files lazily."""

    label: str
    """Short name in manifests, such as the folder's."""
    max_bytes: int = MAX_BYTES
    """Larger files are refused before they are read."""
    store: object = None
    """The one store that all files are read from, where there is one: when it is gone, no file can be read."""
    uses_gpu: bool = False
    """Whether reading a file takes a GPU: its pictures are rendered on one."""

    @abstractmethod
    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every file, in an order that depends on names alone (or on the list's lines), one at a time."""

    @abstractmethod
    def read(self, image: SourceImage) -> bytes:
        """Return a file's bytes.

        Raises:
            Drop: io_error, changed_while_reading, too_many_bytes, special_file, not_an_image, truncated, or for files that
                lie elsewhere store_unavailable, store_denied, robots_disallowed or digest_mismatch.
        """

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return what is known beside a file's pixels ("camera", "mask", "parsing", "id", "record"), None where nothing is.

        Raises:
            Drop: sidecar_mismatch where it is named but cannot be read.
        """
        return None


Opener = Callable[[str], Source]
SCHEMES: Registry[Opener] = Registry("source")
"""Beginning of a source's text, such as "makehuman:" -> what opens it from its text."""


def register_source(scheme: str) -> Callable[[AnyOpener], AnyOpener]:
    """Return a decorator for what opens sources whose text begins with a scheme, such as "squares:".

    Raises:
        RegistryError: the scheme does not end with a colon, or is taken.
    """
    if not scheme.endswith(":") or len(scheme) < 3:
        raise RegistryError(f"expected a scheme of two letters or more that ends with a colon, got {scheme!r}")

    def add(opener: AnyOpener) -> AnyOpener:
        SCHEMES.add(scheme, opener)
        return opener

    return add
