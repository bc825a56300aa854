"""Weights of TensorFlow.js: a list of tensors in JSON, and their numbers one behind the other, in floats or in eight bits.

Nothing of it is code. Whose weights they are is left to `identity`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from ...datasets.arrays import Floats
from .limits import CheckpointError, shown

MOST_TENSORS, MOST_NUMBERS, MOST_AXES = 10_000, 50_000_000, 8
"""What one list may ask for; the face recognition network has 147 tensors and 5.6 million numbers."""
_TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32).newbyteorder("<"),
    "uint8": np.dtype(np.uint8),
    "uint16": np.dtype(np.uint16).newbyteorder("<"),
}


def tfjs_weights(manifest: bytes, data: bytes) -> dict[str, Floats]:
    """Return the tensors by name, in double precision; numbers of eight or sixteen bits are scaled as TensorFlow.js does.

    Args:
        manifest: `*-weights_manifest.json` with one group.
        data: the file that it names.

    Raises:
        CheckpointError: list or numbers are damaged, or do not fit each other.
    """
    found: dict[str, Floats] = {}
    position = 0
    for entry in _entries(manifest):
        name, shape, stored, scale, least = _described(entry)
        if name in found:
            raise CheckpointError(f"expected each tensor once, the list names {shown(name)} twice")
        count = math.prod(shape)
        end = position + count * stored.itemsize
        if count > MOST_NUMBERS or end > len(data):
            raise CheckpointError(
                f"expected {count:,} numbers of {stored} for {shown(name)}, {max(len(data) - position, 0):,} bytes are left"
            )
        values = np.frombuffer(data, stored, count, position).astype(np.float64) * scale + least
        if not np.isfinite(values).all():
            raise CheckpointError(f"{shown(name)} holds NaN or infinity; fetch the weights again")
        found[name] = values.reshape(shape)
        position = end
    if position != len(data):
        raise CheckpointError(f"expected {position:,} bytes of numbers by the list, got {len(data):,}; fetch the weights again")
    return found


def _entries(manifest: bytes) -> list[Any]:
    """Return the entries of the one group."""
    try:
        groups = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"expected a list of weights in JSON: {error}") from error
    group = groups[0] if isinstance(groups, list) and len(groups) == 1 else None
    entries = group.get("weights") if isinstance(group, dict) else None
    if not isinstance(entries, list) or not 0 < len(entries) <= MOST_TENSORS:
        raise CheckpointError(f"expected a list of one group with 1 to {MOST_TENSORS:,} weights")
    return entries


def _described(entry: Any) -> tuple[str, tuple[int, ...], np.dtype[Any], float, float]:
    """Return name, shape, type of the stored numbers, their scale and what is added."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise CheckpointError(f"expected a weight with a name, got {shown(entry)}")
    name, shape = entry["name"], entry.get("shape")
    sides = shape if isinstance(shape, list) and len(shape) <= MOST_AXES else [-1]
    if any(type(side) is not int or not 0 <= side <= MOST_NUMBERS for side in sides):
        raise CheckpointError(f"expected up to {MOST_AXES} sides of {shown(name)}, got {shown(shape)}")
    if entry.get("dtype") != "float32":
        raise CheckpointError(f"expected {shown(name)} of float32, got {shown(entry.get('dtype'))}")
    packed = entry.get("quantization")
    if packed is None:
        return name, tuple(sides), _TYPES["float32"], 1.0, 0.0
    parts = packed if isinstance(packed, dict) else {}
    kind, scale, least = str(parts.get("dtype")), _number(parts.get("scale")), _number(parts.get("min"))
    if kind not in ("uint8", "uint16") or not (math.isfinite(scale) and math.isfinite(least)):
        raise CheckpointError(f"expected dtype, scale and min of the packed {shown(name)}, got {shown(packed)}")
    return name, tuple(sides), _TYPES[kind], scale, least


def _number(value: Any) -> float:
    """Return a number of JSON; NaN where it is none, or too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
