"""One micro-batch: what it holds, and how encoded samples become its pixels, at its resolution and on the side asked for.

Which samples those are is left to `stream_order`, where their bytes come from to `loader`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .arrays import Array, Pixels
from .classes import mirror_parsing
from .codec import IMAGE_SUFFIXES, decode_grey

if TYPE_CHECKING:
    from torch import Tensor

UNKNOWN = 255
"""Class of pixels that nobody labelled."""
_BLOCK = 512
_ALIGNMENT = 64
"""Bytes at whose multiples the parts of a batch begin."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A micro-batch, made whole in one worker; all its tensors lie in one piece of memory, which processes share."""

    image: Tensor
    """(B, S, S, 3) uint8 sRGB."""
    camera: Tensor
    """(B, 25) float32 labels."""
    mask: Tensor | None
    """(B, S, S) uint8, 0 background to 255 head; None where a set has no masks."""
    parsing: Tensor | None
    """(B, S, S) uint8 classes, `UNKNOWN` where nobody labelled; None where no set has class maps."""
    subject: Tensor
    """(B,) int64 number of the person, the same for all views of it."""
    synthetic: Tensor
    """(B,) bool: rendered, not photographed."""
    mirrored: Tensor
    """(B,) bool: shown mirrored, with the label and classes that follow from it."""
    ids: tuple[str, ...]
    number: int
    """Number of this micro-batch in the whole run."""
    skipped: tuple[str, ...]
    """"id: reason" of samples that could not be used; others of the same window stand in their places."""

    def __len__(self) -> int:
        return len(self.ids)

    def __reduce__(self) -> tuple[Any, ...]:
        shape = Shape(len(self), self.image.shape[1], self.mask is not None, self.parsing is not None)
        return _rebuilt, (self._memory(shape), shape, self.ids, self.number, self.skipped)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which copies to a GPU need not wait."""
        shape = Shape(len(self), self.image.shape[1], self.mask is not None, self.parsing is not None)
        return _rebuilt(self._memory(shape).pin_memory(), shape, self.ids, self.number, self.skipped)

    def _memory(self, shape: Shape) -> Tensor:
        """Return the (n,) uint8 memory that all tensors of the batch are views of."""
        import torch

        storage = self.image.untyped_storage()
        return torch.empty(0, dtype=torch.uint8).set_(storage, 0, (shape.num_bytes,), (1,))


@dataclass(frozen=True)
class Shape:
    """What decides the memory of a batch."""

    batch: int
    resolution: int
    has_mask: bool
    has_parsing: bool

    def parts(self) -> dict[str, tuple[int, tuple[int, ...], str]]:
        """Return name -> (first byte, shape, torch dtype) of each tensor."""
        pixels = (self.batch, self.resolution, self.resolution)
        wanted: list[tuple[str, tuple[int, ...], str, int]] = [("image", (*pixels, 3), "uint8", 1)]
        wanted += [("mask", pixels, "uint8", 1)] if self.has_mask else []
        wanted += [("parsing", pixels, "uint8", 1)] if self.has_parsing else []
        wanted += [
            ("camera", (self.batch, 25), "float32", 4), ("subject", (self.batch,), "int64", 8),
            ("synthetic", (self.batch,), "bool", 1), ("mirrored", (self.batch,), "bool", 1),
        ]  # fmt: skip
        found, at = {}, 0
        for name, shape, kind, size in wanted:
            found[name] = (at, shape, kind)
            at += -(-int(np.prod(shape)) * size // _ALIGNMENT) * _ALIGNMENT
        return found | {"": (at, (), "")}

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole batch."""
        return self.parts()[""][0]


def empty_batch(shape: Shape, number: int) -> Batch:
    """Return a batch whose memory is not yet filled."""
    import torch

    return _rebuilt(torch.empty(shape.num_bytes, dtype=torch.uint8), shape, (), number, ())


def _rebuilt(memory: Tensor, shape: Shape, ids: tuple[str, ...], number: int, skipped: tuple[str, ...]) -> Batch:
    """Return the batch whose tensors lie in `memory`."""
    import torch

    views: dict[str, Any] = {"mask": None, "parsing": None}
    for name, (start, size, kind) in shape.parts().items():
        if name:
            dtype: Any = getattr(torch, kind)
            end = start + int(np.prod(size)) * dtype.itemsize
            views[name] = memory[start:end].view(dtype).view(size)
    return Batch(**views, ids=ids, number=number, skipped=skipped)


def members_of(data: memoryview, key: str) -> dict[str, memoryview]:
    """Return the members of one sample by suffix, without copying.

    Args:
        data: the sample's bytes in its shard: per member a header block and the content in whole blocks.
        key: its id.

    Raises:
        ValueError: something else lies there.
    """
    members: dict[str, memoryview] = {}
    at = 0
    while at < len(data):
        header = bytes(data[at : at + _BLOCK])
        name = header[:100].rstrip(b"\0").decode("ascii", "replace")
        stem, _, suffix = name.partition(".")
        digits = header[124:136].strip(b" \0")
        end = at + _BLOCK + int(digits, 8) if digits.isdigit() else 0
        if stem != key or header[156:157] not in (b"0", b"\0") or not at < end <= len(data):
            raise ValueError(f"the shard holds {name[:40]!r} where the manifest says it lies")
        members[suffix] = data[at + _BLOCK : end]
        at = -(-end // _BLOCK) * _BLOCK
    return members


@dataclass(frozen=True, eq=False)
class Places:
    """Where one sample's pixels go in a batch."""

    image: Pixels
    """(S, S, 3)."""
    mask: Pixels | None
    parsing: Pixels | None

    @classmethod
    def of(cls, batch: Batch, slot: int) -> Places:
        """Return the places of one sample of a batch."""
        mask, parsing = (None if part is None else part[slot].numpy() for part in (batch.mask, batch.parsing))
        return cls(batch.image[slot].numpy(), mask, parsing)


def picture_of(members: dict[str, memoryview], digest: int = 0) -> Pixels:
    """Decode a sample's picture to (H, W, 3) uint8 sRGB.

    Args:
        members: as from `members_of`.
        digest: first 64 bits of the sha256 that the picture member must have; 0 where unknown.

    Raises:
        ValueError: it is missing or damaged.
    """
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in members), None)
    if suffix is None:
        raise ValueError(f"no picture among its members {', '.join(sorted(members)) or '(none)'}")
    data = members[suffix]
    if digest and int.from_bytes(hashlib.sha256(data).digest()[:8], "big") != digest:
        raise ValueError(f"its {suffix} has other bytes than when it was built")
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    if image is None:
        raise ValueError(f"its {suffix} does not decode")
    return np.asarray(image, dtype=np.uint8)


def fill(members: dict[str, memoryview], digest: int, mirrored: bool, places: Places) -> None:
    """Decode a sample into its place.

    Args:
        members: as from `members_of`.
        digest: first 64 bits of the sha256 that the picture member must have; 0 where unknown.
        mirrored: turn the pictures left to right and exchange left and right classes.
        places: what is written.

    Raises:
        ValueError: a member is missing, damaged or of a size that does not fit.
    """
    image = picture_of(members, digest)
    size = (image.shape[0], image.shape[1])
    _put(image, places.image, mirrored, shrink_image)
    if places.mask is not None:
        if "mask.png" not in members:
            raise ValueError("no mask.png, which the other samples of its set have")
        _put(_grey(members["mask.png"], size, "mask.png"), places.mask, mirrored, shrink_image)
    if places.parsing is not None:
        if "seg.png" not in members:
            places.parsing[...] = UNKNOWN
            return
        parsing = shrink_classes(_grey(members["seg.png"], size, "seg.png"), places.parsing.shape[0])
        places.parsing[...] = mirror_parsing(parsing) if mirrored else parsing


def _grey(data: memoryview, size: tuple[int, int], name: str) -> Pixels:
    try:
        pixels = decode_grey(data)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"its {name} does not decode: {error}") from error
    if pixels.shape != size:
        raise ValueError(f"its {name} is {pixels.shape[1]} x {pixels.shape[0]}, its picture {size[1]} x {size[0]}")
    return pixels


def _put(pixels: Pixels, place: Pixels, mirrored: bool, shrink: Callable[[Pixels, int], Pixels]) -> None:
    small = shrink(pixels, place.shape[0])
    if mirrored:
        cv2.flip(small, 1, dst=place)
    else:
        place[...] = small


def shrink_factor(size: tuple[int, int], resolution: int) -> int:
    """Return by how much a picture is to be shrunk.

    Args:
        size: (height, width) of the picture.
        resolution: wanted side.

    Raises:
        ValueError: not a whole number.
    """
    if size[0] != size[1] or size[0] < resolution or size[0] % resolution:
        raise ValueError(f"its size {size[1]} x {size[0]} is no whole multiple of {resolution} x {resolution}")
    return size[0] // resolution


def shrink_image(image: Pixels, resolution: int) -> Pixels:
    """Bring a square picture or mask to `resolution` by averaging whole blocks of pixels, rounded to the nearest.

    Raises:
        ValueError: the size is no whole multiple of it.
    """
    if shrink_factor((image.shape[0], image.shape[1]), resolution) == 1:
        return image
    return np.asarray(cv2.resize(image, (resolution, resolution), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def shrink_classes(parsing: Pixels, resolution: int) -> Pixels:
    """Bring a square class map to `resolution`: each pixel takes the class that covers most of it.

    The picture's pixel is the mean over the same block, so this names what one mostly sees there, and favours no side (the
    nearest pixel would lie off the middle by half a pixel). Among classes that cover equal shares the one that is rarer in
    this map wins, so that thin brows and lips are not eaten by the skin around them.

    Args:
        parsing: (H, H) class map.
        resolution: wanted side.

    Raises:
        ValueError: the size is no whole multiple of it.
    """
    if shrink_factor((parsing.shape[0], parsing.shape[1]), resolution) == 1:
        return parsing
    counts: Array = np.bincount(parsing.ravel(), minlength=256)
    best = np.zeros((resolution, resolution), dtype=np.float32)
    found = np.zeros((resolution, resolution), dtype=np.uint8)
    for value in sorted(np.flatnonzero(counts).tolist(), key=lambda value: (counts[value], value)):
        share = cv2.resize((parsing == value).astype(np.float32), (resolution, resolution), interpolation=cv2.INTER_AREA)
        wins = share > best + 1e-4  # shares are multiples of 1 / factor^2
        best[wins], found[wins] = share[wins], value
    return found
