"""What travels through the pipeline: a file, its photograph, the heads found in it, and the refusal of one."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import reasons
from .arrays import Array, Floats, Pixels
from .camera import Camera

_OBJECT = re.compile(r"<([\w.]+)(?: [^<>]*?)? at 0x[0-9a-fA-F]+>")
_ADDRESS = re.compile(r"\b0x[0-9a-fA-F]{7,16}\b")
_OPENCV = re.compile(r"^OpenCV\([^)]*\).*?error: *", re.DOTALL)
MAX_WORDS = 300
"""Characters of an exception's text that are told."""


def without_addresses(text: str) -> str:
    """Return a text without addresses in memory: the same bytes must be refused in the same words on every run."""
    return _ADDRESS.sub("0x...", _OBJECT.sub(r"<\1>", text)) if "0x" in text else text


def wording(error: BaseException) -> str:
    """Word an exception for a row of a table: its text in one line, without addresses; its kind where it has no text."""
    text = " ".join(without_addresses(_OPENCV.sub("", str(error))).split())[:MAX_WORDS]
    return text if " " in text else f"{type(error).__name__} {text}".rstrip()


class Drop(Exception):
    """A sample or file is refused: data, not an error. The reason decides the outcome (see `reasons.REASONS`)."""

    def __init__(self, reason: str, detail: str = "", value: float | None = None) -> None:
        """Refuse with a reason code, the measured fact ("best score 0.31 < 0.50") and, where there is one, its number."""
        detail = without_addresses(detail)
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail, self.value = reason, detail, value
        self.outcome = reasons.outcome(reason)

    def __reduce__(self) -> tuple[type[Drop], tuple[str, str, float | None]]:
        """Travel between processes whole."""
        return type(self), (self.reason, self.detail, self.value)


@dataclass(frozen=True)
class Rights:
    """Whose picture it is and what may be done with it; empty where nobody said."""

    license: str = ""
    license_url: str = ""
    attribution: str = ""
    source_url: str = ""
    retrieved_at: str = ""
    consent: str = ""
    identity: str = ""
    """Key of the person, for splits without leakage."""
    group: str = ""
    """Album, video or shoot: pictures that must stay in one split."""


@dataclass(frozen=True)
class SourceImage:
    """A file before anyone looked at it."""

    source: str
    """Label of the source it came from, such as the folder's name."""
    path: str
    """Where in that source, with forward slashes; undecodable bytes are surrogate-escaped."""
    num_bytes: int
    stamp: str = ""
    """What tells that the file is still the same (size, mtime, inode); empty where the source has no such thing."""
    rights: Rights = Rights()
    sidecar: Mapping[str, str] = field(default_factory=dict)
    """Things known beside the pixels: "id", "camera", "mask", "parsing", ... -> locator within the source."""

    @property
    def is_cropped(self) -> bool:
        """Whether the picture is a canonical crop already, of a finished data set or rendered: its source names the head."""
        return "id" in self.sidecar


@dataclass(frozen=True)
class PhotoInfo:
    """What the header and the decoder said of a photograph."""

    width: int
    """Pixels, after EXIF orientation."""
    height: int
    format: str
    """True format from the bytes, such as "jpeg"."""
    orientation: int = 1
    """EXIF orientation that was applied, 1 to 8."""
    num_frames: int = 1
    bit_depth: int = 8
    flags: tuple[str, ...] = ()
    """Sorted remarks: "cmyk", "icc_converted", "grey", "alpha", "palette", "trailing_bytes", "corrupt_stream", ..."""
    jpeg_quality: float = 0.0
    """Encoder quality 1 to 100 estimated from the quantisation tables; 0 when not a JPEG."""


class Photo:
    """A decoded photograph, its pixels made on first use (a resumed stage may never need them)."""

    def __init__(
        self, source: SourceImage, sha256: str, info: PhotoInfo, load: Callable[[], tuple[Pixels, Pixels | None]]
    ) -> None:
        """Wrap a file's content; `load` decodes it into sRGB pixels and, where the file has one, its alpha."""
        self.source, self.sha256, self.info, self._load = source, sha256, info, load

    @classmethod
    def of_pixels(cls, pixels: Pixels, sha256: str = "0" * 64, path: str = "array") -> Photo:
        """Wrap an (H, W, 3) uint8 array that is already in memory: for renderers, tests and notebooks."""
        info = PhotoInfo(width=pixels.shape[1], height=pixels.shape[0], format="array")
        return cls(SourceImage("memory", path, pixels.nbytes), sha256, info, lambda: (pixels, None))

    @cached_property
    def _decoded(self) -> tuple[Pixels, Pixels | None]:
        return self._load()

    @property
    def pixels(self) -> Pixels:
        """(H, W, 3) uint8 sRGB, upright."""
        return self._decoded[0]

    @property
    def alpha(self) -> Pixels | None:
        """(H, W) uint8 where the file had transparency, else None."""
        return self._decoded[1]

    @property
    def is_decoded(self) -> bool:
        """Whether the pixels are in memory."""
        return "_decoded" in self.__dict__


@dataclass(frozen=True, eq=False)
class HeadPose:
    """Where a head's frame lies in its photograph and how it is turned, as a network read it from any side."""

    rotation: Floats
    """(3, 3) from world to camera axes, the picture's roll included."""
    centre: Floats
    """(2,) continuous source pixels where the head frame's origin falls."""
    scale: float
    """Source pixels a side of the canonical crop."""
    confidence: float
    """Chance that the rotation is right within 15 degrees, as the network has it."""
    spread: float = 0.0
    """Expected error of the rotation in radians, as the network has it; 0 where it was not told."""
    halves: Floats | None = None
    """(2, 3, 3) rotations read off the picture and off its mirror image, mirrored back, whose mean is `rotation`."""
    network: str = ""
    """The sha256 of the network that read it."""


@dataclass(frozen=True, eq=False)
class Head:
    """One head as the detector saw it, in continuous source pixels."""

    box: tuple[float, float, float, float]
    """x, y, width, height of the whole head."""
    confidence: float
    """0 to 1."""
    kind: str
    """"mesh" where the face mesh fitted, "head" where our own networks alone saw it, "face" where only a face box was seen,
    "pose" where only the body's pose."""
    yaw: float
    """Coarse azimuth of the camera in radians, as `Camera.yaw`."""
    mesh: Array | None = None
    """(478, 3) float32: MediaPipe's face mesh, x and y in source pixels, z in the same scale, towards the camera negative."""
    mesh_pair: Array | None = None
    """(2, 478, 3) float32: the meshes of the picture and of its mirror image, mirrored back, of which `mesh` is the mean."""
    body: Array | None = None
    """(33, 4) float32: MediaPipe's pose landmarks, x, y, z in source pixels and visibility 0 to 1."""
    landmarks: Array | None = None
    """(68, 2) float32 iBUG landmarks in source pixels, where a network of their own found them."""
    roll: float = 0.0
    """Coarse angle in radians by which the head is turned clockwise in the picture."""
    num_heads: int = 1
    """How many heads the detector saw in this photograph."""
    pose: HeadPose | None = None
    """What the network for heads of any side read of it, where it ran."""


@dataclass(frozen=True, eq=False)
class Crop:
    """The one warp that leads from the photograph to the sample's picture."""

    matrix: Floats
    """(3, 3) from continuous source pixels to continuous crop pixels."""
    size: int
    """Side of the crop in pixels."""
    pad_ratio: float
    """Share of crop pixels that lie outside the photograph, 0 to 1."""
    upscale: float
    """Crop pixels per source pixel; above 1 the crop is finer than its source."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One head on its way through the stages; each stage returns changed copies."""

    id: str
    photo: Photo
    head_index: int = 0
    head: Head | None = None
    crop: Crop | None = None
    image: Pixels | None = None
    """(S, S, 3) uint8 sRGB: the canonical crop, from align on."""
    padding: Pixels | None = None
    """(S, S) uint8: 255 where the photograph had no pixel."""
    mask: Pixels | None = None
    """(S, S) uint8 soft matte of the head and shoulders: 0 background, 255 head."""
    parsing: Pixels | None = None
    """(S, S) uint8 class map, see `classes.CLASSES`."""
    beard: Pixels | None = None
    """(S, S) uint8: 255 where the hair of `parsing` is beard, else 0; where `parse` was asked for it."""
    depth: Array | None = None
    """(S, S) float32 distance along the optical axis in world units, 0 where unknown: rendered heads only, where asked for."""
    mesh: Array | None = None
    """(478, 3) float32 face mesh in crop pixels, where a face was seen."""
    landmarks: Array | None = None
    """(68, 2) float32 iBUG landmarks in crop pixels, where a face was seen."""
    camera: Camera | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    """Measured numbers by name; they become columns of the manifest."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """Named words, such as pose_source = "mesh"; they become columns of the manifest."""
    parent: str = ""
    """Id of the sample that this one was derived from."""
    derivation: str = ""
    """Canonical JSON of how it was derived."""
    known: frozenset[str] = frozenset()
    """Fields whose value is exact because the source gave it: stages that only estimate these are skipped."""
    shared: Mapping[str, Any] = field(default_factory=dict)
    """What a stage worked out that later ones need too, such as a network's reading of the crop. It lives in one run only and
    is never cached: a stage must give the same where it is empty."""

    @property
    def is_rendered(self) -> bool:
        """Whether the picture was rendered, not photographed."""
        return "renderer" in self.notes

    def with_(self, **changes: Any) -> Sample:
        """Return a copy with fields replaced; `scores`, `notes` and `shared` are merged into the present ones."""
        for name in ("scores", "notes", "shared"):
            if name in changes:
                changes[name] = {**getattr(self, name), **changes[name]}
        return dataclasses.replace(self, **changes)

    def require(self, name: str) -> Any:
        """Return a field that an earlier stage must have filled.

        Raises:
            ValueError: it is empty; the message names the field.
        """
        value = getattr(self, name)
        if value is None:
            raise ValueError(f"sample {self.id or '(new)'} has no {name}; put a stage that gives it earlier in the recipe")
        return value
