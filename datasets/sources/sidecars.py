"""What a source says of a photograph beside its pixels - camera, mask, class map, depth - read and checked before use.

Finding the bytes is `sources`' business; a thing that does not fit its picture refuses the picture, it is never mended in
silence and never paired with another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...manifests.config import brief
from ..arrays import Array, Pixels
from ..camera import Camera, CameraError
from ..classes import CLASSES, MIRROR_PAIRS
from ..depth import UNIT
from ..images import formats
from ..images.colour import to_eight_bits
from ..images.decode import read_header
from ..images.headers import Header
from ..sample import Drop, SourceImage
from .base import Source
from .outside_json import parse

_EYES, _MOUTH = (4, 5), (11, 12, 13)
_FEW = 12
"""Pixels a class needs for its place to count."""


def load_sidecars(source: Source, image: SourceImage, size: tuple[int, int], free_k: bool = False) -> dict[str, Any]:
    """Read and check everything known beside a photograph.

    Args:
        source: where the photograph comes from.
        image: the photograph.
        size: (width, height) of its upright pixels.
        free_k: allow cameras with other than the canonical intrinsics.

    Returns:
        Those of "camera" (Camera), "mask" ((H, W) uint8, 0 to 255), "parsing" ((H, W) uint8, class ids) and "depth" ((H, W)
        float32, see `depth`) that the source has.

    Raises:
        Drop: sidecar_mismatch or camera_invalid, with what was expected and a hint.
    """
    found: dict[str, Any] = {}
    data = source.sidecar(image, "camera")
    if data is not None:
        found["camera"] = read_camera(data, free_k)
    data = source.sidecar(image, "mask")
    if data is not None:
        found["mask"] = read_mask(data, size)
    data = source.sidecar(image, "parsing")
    if data is not None:
        found["parsing"] = read_parsing(data, size)
    data = source.sidecar(image, "depth")
    if data is not None:
        found["depth"] = read_depth(data, size)
    return found


def read_camera(data: bytes, free_k: bool = False) -> Camera:
    """Read a camera from JSON: 25 numbers, or {"label": [25 numbers]}, or {"cam2world": 4 x 4, "intrinsics": 3 x 3}.

    Raises:
        Drop: camera_invalid, with the hint of `Camera.check` where it recognises the convention.
    """
    try:
        camera = Camera.from_label(np.array(label_numbers(parse(data)), dtype=np.float64))
        camera.check(free_k)
    except (CameraError, ValueError) as error:
        raise Drop("camera_invalid", str(error)) from error
    return camera


def label_numbers(value: Any) -> list[float]:
    """Return the 25 numbers of a camera in any of the forms that `read_camera` knows.

    Args:
        value: parsed JSON, or rows of a table.

    Raises:
        ValueError: they are not 25 numbers; the message says what came.
    """
    if isinstance(value, str):
        value = parse(value)
    if isinstance(value, dict) and "cam2world" in value and "intrinsics" in value:
        return [*_flat(value["cam2world"], 16, "cam2world"), *_flat(value["intrinsics"], 9, "intrinsics")]
    if isinstance(value, dict):
        if "label" not in value and "camera" not in value:
            raise ValueError(f"expected 25 numbers, a label, or cam2world and intrinsics, got {brief(value)}")
        value = value.get("label", value.get("camera"))
    return _flat(value, 25, "a label")


def _flat(value: Any, count: int, name: str) -> list[float]:
    """Return a list of numbers, or a list of rows of numbers, as one list."""
    parts = value if isinstance(value, list | tuple) else [value]
    flat = [item for part in parts for item in (part if isinstance(part, list | tuple) else [part])]
    try:
        numbers = [float(item) for item in flat if not isinstance(item, bool)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != len(flat) or len(flat) != count:
        what = f"{len(flat)} values" if len(flat) != count else brief(value)
        raise ValueError(f"expected {count} numbers for {name}, got {what}")
    return numbers


def read_mask(data: bytes, size: tuple[int, int]) -> Pixels:
    """Read a mask: grey, 0 background to 255 head, or 0 and 1.

    Raises:
        Drop: sidecar_mismatch where it is no grey picture or of another size.
    """
    values, header = _plane("mask", data, size)
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise Drop("sidecar_mismatch", "mask: expected one grey channel, got colours; save the mask alone")
        values = values[..., 0]
    if values.dtype == np.uint16:
        values = to_eight_bits(values)
    if header.bit_depth > 1 and values.max() == 1:
        values = values * np.uint8(255)
    return np.asarray(values, dtype=np.uint8)


def read_parsing(data: bytes, size: tuple[int, int]) -> Pixels:
    """Read a class map: a grey or palette picture, losslessly stored, whose numbers are class ids.

    Raises:
        Drop: sidecar_mismatch where it is lossy, coloured, of another size, has unknown ids, or has left and right swapped.
    """
    values, header = _plane("parsing", data, size)
    if header.format == "jpeg":
        raise Drop("sidecar_mismatch", "parsing: a JPEG cannot hold class ids exactly; save the map as PNG")
    if values.ndim == 3 or values.dtype != np.uint8:
        kind = f"{values.dtype} of shape {values.shape}"
        raise Drop("sidecar_mismatch", f"parsing: expected 8-bit class ids in one channel, got {kind}; save ids, not colours")
    if int(values.max()) >= len(CLASSES):
        known = f"0 to {len(CLASSES) - 1}"
        raise Drop("sidecar_mismatch", f"parsing: expected class ids {known}, got {int(values.max())}; map its classes first")
    if sides_swapped(values):
        pairs = ", ".join(f"{left} and {right}" for left, right in MIRROR_PAIRS)
        raise Drop("sidecar_mismatch", f"parsing: left and right look swapped (left is the subject's): exchange {pairs}")
    return np.asarray(values, dtype=np.uint8)


def read_depth(data: bytes, size: tuple[int, int]) -> Array:
    """Read a depth map: 16-bit grey PNG, thousandths of a world unit along the optical axis, 0 where nothing is known.

    Raises:
        Drop: sidecar_mismatch where it is another picture or of another size.
    """
    values, _ = _plane("depth", data, size)
    if values.ndim != 2 or values.dtype != np.uint16:
        kind = f"{values.dtype} of shape {values.shape}"
        raise Drop("sidecar_mismatch", f"depth: expected thousandths of a world unit in 16-bit grey, got {kind}")
    return np.asarray(values * np.float32(UNIT), dtype=np.float32)


def _plane(kind: str, data: bytes, size: tuple[int, int]) -> tuple[Array, Header]:
    """Decode a mask or map without any change of its numbers; its size is compared before a pixel is decoded."""
    try:
        header = read_header(data, checksums=True)
        if header.problem:
            raise Drop(*header.problem)
        _check_size(kind, header, size)
        return formats.read_indices(data, header), header
    except Drop as drop:
        raise drop if drop.reason == "sidecar_mismatch" else Drop("sidecar_mismatch", f"{kind}: {drop}") from drop


def _check_size(kind: str, header: Header, size: tuple[int, int]) -> None:
    if (header.width, header.height) == size and header.orientation == 1:
        return
    text = f"{kind}: expected {size[0]} x {size[1]} like the upright picture, got {header.width} x {header.height}"
    if header.orientation != 1 or (header.height, header.width) == size:
        text += "; was it made before the photograph was turned upright?"
    raise Drop("sidecar_mismatch", text)


def sides_swapped(parsing: Pixels) -> bool:
    """Tell whether a class map has the subject's left and right exchanged.

    Seen from the front, the turn from (right eye to left eye) to (eyes to mouth) is clockwise in the picture however the head
    is rolled. Without both eyes and a mouth nothing can be told.
    """
    places = {}
    for name, ids in (("left", _EYES[:1]), ("right", _EYES[1:]), ("mouth", _MOUTH)):
        rows, columns = np.nonzero(np.isin(parsing, ids))
        if len(rows) < _FEW:
            return False
        places[name] = np.array([columns.mean(), rows.mean()])
    across = places["left"] - places["right"]
    down = places["mouth"] - 0.5 * (places["left"] + places["right"])
    return bool(across[0] * down[1] - across[1] * down[0] < 0)
