"""The messages between a build and its workers: what all are told once, one file to work on, and what came of it.

Workers keep nothing themselves: they ask the build what it knows of a content, and send it what is to be kept.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...datasets.sample import Drop, SourceImage, wording
from ...datasets.sources.base import Source
from ...datasets.sources.camera_sidecar import LABEL
from ...datasets.sources.folder import io_error
from ...manifests.identity import content_sha256
from ..recipe import Recipe

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkOrder:
    """What every worker of a build is told once."""

    sources: tuple[Source, ...]
    recipe: Recipe
    """Resolved: no `auto` left."""
    forgotten: frozenset[str] = frozenset()
    """sha256 of files, and ids of heads, that were taken down."""
    device: str = "cpu"
    """Where stages that can choose run, for files that take a GPU."""

    def device_of(self, task: Task) -> str:
        """Return the device of a file's stages, which is the same whichever worker has the file."""
        return self.device if task.takes_gpu else "cpu"


@dataclass(frozen=True)
class Task:
    """One file to work on."""

    number: int
    source: int
    image: SourceImage
    takes_gpu: bool = False
    """As `placement` decides it: only a worker with a GPU may have it."""


_BESIDE = ("camera", "mask", "parsing", "depth", "id", LABEL)
"""Sidecars that change what comes out."""


def work_key_of(source: Source, image: SourceImage, sha256: str) -> str:
    """Return the name of a content for cache and state: the file's sha256, or with what stands beside it, a hash of both."""
    kinds = [kind for kind in _BESIDE if kind in image.sidecar]
    if not kinds:
        return sha256
    beside = hashlib.sha256(sha256.encode())
    for kind in kinds:
        content = image.sidecar[kind].encode() if kind == LABEL else source.sidecar(image, kind)
        beside.update(f"\0{kind}\0{'' if content is None else content_sha256(content)}".encode())
    return beside.hexdigest()


@contextlib.contextmanager
def refusing(what: str) -> Iterator[None]:
    """Turn whatever a source or decoder raises into a refusal of the file that it was about; the next file is another.

    Args:
        what: was done, for the message.

    Raises:
        Drop: instead of any other exception.
    """
    try:
        yield
    except (Drop, ConnectionError):  # the second is the worker's own pipe: the build is gone
        raise
    except MemoryError as error:
        raise Drop("out_of_memory", f"{what}: {wording(error)}") from error
    except OSError as error:
        raise io_error(error) from error
    except Exception as error:
        log.warning("%s failed", what, exc_info=True)
        raise Drop("stage_error", f"{what}: {wording(error)}") from error


def read_whole(source: Source, image: SourceImage) -> tuple[bytes, str, str]:
    """Return a file's bytes, their sha256 and the work key.

    Raises:
        Drop: it cannot be read.
    """
    with refusing("reading"):
        data = source.read(image)
        sha256 = content_sha256(data)
        return data, sha256, work_key_of(source, image, sha256)


@dataclass(frozen=True)
class Thumb:
    """The small picture of a head that a stage refused."""

    id: str
    reason: str
    key: str
    """Cache key of the stage."""
    picture: bytes
    """JPEG; empty where there were no pixels."""


@dataclass(frozen=True)
class FileResult:
    """What came of one file: the message from a worker to the build."""

    work_key: str
    """Names the content and its sidecars; empty where the file could not be read."""
    sha256: str
    outcome: str
    """kept | dropped | failed | not_image, before the whole set is looked at."""
    reason: str = ""
    detail: str = ""
    stage: str = ""
    heads: tuple[tuple[str, str, str], ...] = ()
    """(id, status, row as JSON) of every head."""
    seconds: tuple[tuple[str, float], ...] = ()
    """(stage, time spent) of the steps that really ran."""
    rss: int = 0
    """Bytes of memory of the process afterwards."""
    records: Mapping[str, bytes] = field(default_factory=dict)
    """Cache key -> record of the stages that ran, to be kept."""
    members: bytes | None = None
    """Packed members of the kept heads by id; None where nothing is to be kept."""
    thumbs: tuple[Thumb, ...] = ()
    """Small pictures of the heads that were refused in this run."""
    is_known: bool = False
    """Whether this is the build's own answer for a content that it has met before: there is nothing to keep."""
    opens: bool = False
    """Whether a stage was opened for this file, whose seconds then hold the loading of models."""

    def bare(self) -> FileResult:
        """Return the result without what is kept, once it is kept."""
        return dataclasses.replace(self, records={}, members=None, thumbs=())


@dataclass(frozen=True)
class Answer:
    """What a build knows of a content."""

    records: Mapping[str, bytes] = field(default_factory=dict)
    """Records of stages by cache key."""
    result: FileResult | None = None
    """What came of it under the present recipe, where that is known."""
