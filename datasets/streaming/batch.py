"""One micro-batch: what it holds, and how encoded samples become its pixels, at its resolution and on the side asked for.

Which samples those are is left to `order`, where their bytes come from to `loader`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..arrays import Array, Pixels
from ..classes import UNLABELLED, swap_sides
from ..depth import MEMBER as DEPTH
from ..depth import decode_depth
from ..shards.codec import IMAGE_SUFFIXES, decode_grey
from ..tar_members import walk_bytes

if TYPE_CHECKING:
    from torch import Tensor

_OTHER_SIDE = swap_sides(np.arange(256, dtype=np.uint8))
"""(256,) class after mirroring by class before."""
_ALIGNMENT = 64
"""Bytes at whose multiples the parts of a batch begin."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A micro-batch, made whole in one worker; all its tensors lie in one piece of memory."""

    image: Tensor
    """(B, S, S, 3) uint8 sRGB."""
    camera: Tensor
    """(B, 25) float32 labels."""
    mask: Tensor | None
    """(B, S, S) uint8, 0 background to 255 head; None where a set has no masks."""
    parsing: Tensor | None
    """(B, S, S) uint8 classes, `UNLABELLED` where nobody labelled; None where no set has class maps."""
    depth: Tensor | None
    """(B, S, S) float32 distance along the optical axis in world units, 0 where unknown; None unless asked for."""
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

    def _shape(self) -> Shape:
        parts = (self.mask, self.parsing, self.depth)
        return Shape(len(self), self.image.shape[1], *(part is not None for part in parts))

    def __reduce__(self) -> tuple[Any, ...]:
        shape = self._shape()
        return batch_in, (self._memory(shape), shape, self.ids, self.number, self.skipped)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which copies to a GPU need not wait."""
        shape = self._shape()
        return batch_in(self._memory(shape).pin_memory(), shape, self.ids, self.number, self.skipped)

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
    has_depth: bool = False

    @property
    def num_bytes(self) -> int:
        """Bytes of the whole batch."""
        return _layout(self)[1]


@functools.cache
def _layout(shape: Shape) -> tuple[dict[str, tuple[slice, tuple[int, ...], str]], int]:
    """Return name -> (its bytes, shape, torch dtype) of each tensor of a batch, and the bytes of all."""
    pixels = (shape.batch, shape.resolution, shape.resolution)
    wanted: list[tuple[str, tuple[int, ...], str, int]] = [("image", (*pixels, 3), "uint8", 1)]
    wanted += [("mask", pixels, "uint8", 1)] if shape.has_mask else []
    wanted += [("parsing", pixels, "uint8", 1)] if shape.has_parsing else []
    wanted += [("depth", pixels, "float32", 4)] if shape.has_depth else []
    wanted += [
        ("camera", (shape.batch, 25), "float32", 4), ("subject", (shape.batch,), "int64", 8),
        ("synthetic", (shape.batch,), "bool", 1), ("mirrored", (shape.batch,), "bool", 1),
    ]  # fmt: skip
    parts, at = {}, 0
    for name, size, kind, width in wanted:
        parts[name] = (slice(at, at + math.prod(size) * width), size, kind)
        at += -(-math.prod(size) * width // _ALIGNMENT) * _ALIGNMENT
    return parts, at


def batch_in(memory: Tensor, shape: Shape, ids: tuple[str, ...], number: int, skipped: tuple[str, ...]) -> Batch:
    """Return the batch whose tensors lie in `memory`, (n,) uint8 of the shape's bytes."""
    import torch

    views: dict[str, Any] = {"mask": None, "parsing": None, "depth": None}
    for name, (part, size, kind) in _layout(shape)[0].items():
        views[name] = memory[part].view(getattr(torch, kind)).view(size)
    return Batch(**views, ids=ids, number=number, skipped=skipped)


def empty_memory(shape: Shape) -> Tensor:
    """Return memory for a batch, not yet filled."""
    import torch

    return torch.empty(shape.num_bytes, dtype=torch.uint8)


def members_of(data: memoryview, key: str) -> dict[str, memoryview]:
    """Return the members of one sample by suffix, without copying.

    Args:
        data: the sample's bytes in its shard: per member a header block and the content in whole blocks.
        key: its id.

    Raises:
        ValueError: something else lies there.
    """
    members: dict[str, memoryview] = {}
    stem, behind = key + ".", 0
    for member in walk_bytes(data):
        if member.is_end and member.start >= len(data):
            break
        if (
            member.is_end
            or member.start != behind
            or member.problem is not None
            or member.kind != "file"
            or not member.name.startswith(stem)
        ):
            what = repr(member.name[:40]) if member.name else "no tar header"
            raise ValueError(f"the shard holds {what} where the manifest says that it lies")
        members[member.name[len(stem) :]] = data[member.offset : member.offset + member.size]
        behind = -(-(member.offset + member.size) // 512) * 512  # whole tar blocks
    return members


@dataclass(frozen=True, eq=False)
class Places:
    """Where one sample's pixels go in a batch."""

    image: Pixels
    """(S, S, 3)."""
    mask: Pixels | None
    parsing: Pixels | None
    depth: Array | None = None


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
        _put(_grey(members["mask.png"], size, "mask.png", places.mask), places.mask, mirrored, shrink_image)
    if places.parsing is not None:
        if "seg.png" in members:
            _put(_grey(members["seg.png"], size, "seg.png", places.parsing), places.parsing, mirrored, shrink_classes)
            if mirrored:
                cv2.LUT(places.parsing, _OTHER_SIDE, dst=places.parsing)
        else:
            places.parsing[...] = UNLABELLED
    if places.depth is not None:
        places.depth[...] = _depth(members, size, places.depth.shape[0], mirrored)


def _depth(members: dict[str, memoryview], size: tuple[int, int], resolution: int, mirrored: bool) -> Array:
    """Return a sample's depth map at a resolution: the middle pixel of each block, 0 everywhere where it has none."""
    if DEPTH not in members:
        return np.zeros((resolution, resolution), dtype=np.float32)
    try:
        depth = decode_depth(members[DEPTH])
    except ValueError as error:
        raise ValueError(f"its {DEPTH} does not decode: {error}") from error
    if depth.shape != size:
        raise ValueError(f"its {DEPTH} is {depth.shape[1]} x {depth.shape[0]}, its picture {size[1]} x {size[0]}")
    factor = shrink_factor(size, resolution)
    small = depth[factor // 2 :: factor, factor // 2 :: factor]
    return small[:, ::-1] if mirrored else small


def _grey(data: memoryview, size: tuple[int, int], name: str, place: Pixels) -> Pixels:
    """Decode a mask or class map, into its place where that has its size."""
    try:
        pixels = decode_grey(data, place)
    except ValueError as error:
        raise ValueError(f"its {name} does not decode: {error}") from error
    if pixels.shape != size:
        raise ValueError(f"its {name} is {pixels.shape[1]} x {pixels.shape[0]}, its picture {size[1]} x {size[0]}")
    return pixels


def _put(pixels: Pixels, place: Pixels, mirrored: bool, shrink: Callable[[Pixels, int], Pixels]) -> None:
    small = shrink(pixels, place.shape[0])
    if mirrored:
        cv2.flip(small, 1, dst=place)
    elif small is not place:
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
    factor = shrink_factor((parsing.shape[0], parsing.shape[1]), resolution)
    kernel, corner = np.ones((factor, factor), dtype=np.uint8), (0, 0)
    small = np.asarray(
        cv2.erode(parsing, kernel, anchor=corner)[::factor, ::factor], dtype=np.uint8
    )  # least class of each block
    mixed = np.nonzero(small != cv2.dilate(parsing, kernel, anchor=corner)[::factor, ::factor])
    if len(mixed[0]):
        counts = np.bincount(parsing.ravel(), minlength=256)
        by_rarity = np.argsort(np.where(counts, counts, parsing.size), kind="stable")
        rank = np.empty(256, dtype=np.int64)
        rank[by_rarity] = np.arange(256)
        num = int((counts > 0).sum())
        blocks = parsing.reshape(resolution, factor, resolution, factor)[mixed[0], :, mixed[1]].reshape(len(mixed[0]), -1)
        shares = np.bincount((rank[blocks] + num * np.arange(len(blocks))[:, None]).ravel(), minlength=num * len(blocks))
        small[mixed] = by_rarity[shares.reshape(-1, num).argmax(axis=1)]  # the first, so the rarest, of equal ones
    return np.asarray(small, dtype=np.uint8)
