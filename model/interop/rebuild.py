"""What stands for the few things that a published checkpoint may name: tensors, numpy numbers, containers, and inert modules.

Nothing named is imported: a module is a record of its name and state, a tensor a view of bytes until somebody wants it. Files
and their layout are left to `torch_files`.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .limits import Budget, CheckpointError
from .unpickle import Builder, Name, hashable

STORAGES: dict[str, torch.dtype] = {
    "torch.DoubleStorage": torch.float64,
    "torch.FloatStorage": torch.float32,
    "torch.HalfStorage": torch.float16,
    "torch.BFloat16Storage": torch.bfloat16,
    "torch.LongStorage": torch.int64,
    "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16,
    "torch.CharStorage": torch.int8,
    "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
    "torch.storage.UntypedStorage": torch.uint8,
}
"""Kinds of storage and what one of their elements is."""
_NUMPY = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"}
_MODULE = re.compile(r"(torch\.nn\.modules\.\w+|training(\.\w+)+|_imported_module_[0-9a-f]{32})\.[A-Za-z]\w*")
"""Classes that the published code pickles by name; a record of one is all that is ever made."""
_MAX_AXES = 8
_MAX_SIDE = 1 << 31
"""Numbers along one axis: no array of plain numbers is longer, and those without any could else claim every length."""
_MAX_EMPTY_SIDE = 1 << 16
"""The same of a tensor without numbers, and of all other sides of an array without numbers together."""
_MAX_STRIDE = 1 << 40
"""Numbers from one element to the next along an axis."""


@dataclass(eq=False)
class Storage:
    """A row of numbers in the file; a torch file refers to it before its bytes come."""

    dtype: torch.dtype
    num_bytes: int
    data: memoryview = memoryview(b"")


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor in the file, proved to lie inside its storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """Offset and strides in elements."""

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Bytes of its elements."""
        return self.numel * self.dtype.itemsize

    def tensor(self) -> torch.Tensor:
        """Copy it out of the file, contiguous."""
        if not self.numel:
            return torch.empty(self.shape, dtype=self.dtype)
        step = self.dtype.itemsize
        name = {torch.bfloat16: "<u2", torch.bool: "u1"}.get(self.dtype) or str(self.dtype).removeprefix("torch.")
        layout = np.dtype(name).newbyteorder("<")
        strides = [stride * step for stride in self.strides]
        array: Any = np.ndarray(self.shape, layout, self.storage.data, self.offset * step, strides)
        return torch.from_numpy(np.array(array, order="C")).view(self.dtype)


@dataclass(eq=False)
class Record:
    """An object of the checkpoint: the name of its class and its state, never run."""

    name: str
    state: dict[Any, Any] = field(default_factory=dict)
    source_sha256: str = ""
    """Of the source text that the checkpoint carries for this class; the text itself is dropped."""

    def build(self, state: Any) -> None:
        """Take a state."""
        if type(state) is not dict:
            raise CheckpointError(f"expected the state of {self.name} as a mapping, got {type(state).__name__}")
        self.state = state


@dataclass
class NumpyType:
    """A numpy number's type."""

    code: str

    def build(self, state: Any) -> None:
        """Take a byte order; none but little-endian is read."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise CheckpointError(f"expected a little-endian numpy type {self.code}")


@dataclass
class NumpyArray:
    """A numpy array, empty until its state comes."""

    array: np.ndarray = field(default_factory=lambda: np.empty(0))

    def build(self, state: Any) -> None:
        """Take (version, shape, type, column order, bytes)."""
        _, shape, kind, columns, data = expect(state, 5, "a numpy array's state")
        self.array = numpy_array(data, kind, shape, "F" if columns else "C")


def expect(values: Any, count: int, what: str) -> tuple[Any, ...]:
    """Check a tuple's length."""
    if type(values) is not tuple or len(values) != count:
        got = f"{len(values)}" if type(values) is tuple else type(values).__name__
        raise CheckpointError(f"expected {count} values for {what}, got {got}")
    return values


def whole_numbers(values: Any, what: str) -> tuple[int, ...]:
    """Check a tuple of a few whole numbers from 0 on."""
    good = type(values) is tuple and len(values) <= _MAX_AXES and all(type(value) is int and value >= 0 for value in values)
    if not good:
        raise CheckpointError(f"expected at most {_MAX_AXES} whole numbers from 0 on for {what}")
    return tuple(values)


def numpy_array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Return bytes as a read-only array."""
    shape = whole_numbers(shape, "a numpy array's shape")
    if not isinstance(kind, NumpyType) or not isinstance(data, memoryview) or order not in ("C", "F"):
        raise CheckpointError("expected a numpy array of plain numbers: bytes, type and order C or F")
    dtype = np.dtype(kind.code).newbyteorder("<")
    if 0 in shape and math.prod(side for side in shape if side) > _MAX_EMPTY_SIDE:
        raise CheckpointError(f"expected a numpy array of usual sides, got shape {shape} without numbers")
    if max(shape, default=0) > _MAX_SIDE or len(data) != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(f"expected {math.prod(shape) * dtype.itemsize:,} bytes for a numpy array, got {len(data):,}")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


def stored_tensor(storage: Any, offset: Any, shape: Any, strides: Any, dtype: torch.dtype | None = None) -> StoredTensor:
    """Prove that a tensor lies inside its storage, no element more often than there are numbers.

    Raises:
        CheckpointError: it does not.
    """
    if not isinstance(storage, Storage):
        raise CheckpointError(f"expected a tensor's storage, got {type(storage).__name__}")
    (offset,) = whole_numbers((offset,), "a tensor's offset")
    shape, strides = whole_numbers(shape, "a tensor's shape"), whole_numbers(strides, "a tensor's strides")
    found = StoredTensor(storage, dtype or storage.dtype, offset, shape, strides)
    reach = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=False)) + 1 if found.numel else 0
    there = storage.num_bytes // found.dtype.itemsize
    if max(shape, default=0) > (_MAX_SIDE if found.numel else _MAX_EMPTY_SIDE) or max(strides, default=0) > _MAX_STRIDE:
        raise CheckpointError(f"expected a tensor of usual sides and strides, got shape {shape}, strides {strides}")
    if len(shape) != len(strides) or reach > there or found.numel > there:
        raise CheckpointError(
            f"expected a tensor inside its storage of {there:,} numbers, got shape {shape}, strides {strides}, offset {offset}"
        )
    return found


def _tensor(arguments: tuple[Any, ...], budget: Budget) -> StoredTensor:
    if not 4 <= len(arguments) <= 7:
        raise CheckpointError(f"expected 4 to 7 values for a tensor, got {len(arguments)}")
    storage, offset, shape, strides = arguments[:4]
    return stored_tensor(storage, offset, shape, strides)


def _tensor_of_type(arguments: tuple[Any, ...], budget: Budget) -> StoredTensor:
    if not 7 <= len(arguments) <= 8 or arguments[6] not in STORAGES.values():
        raise CheckpointError("expected 7 or 8 values for a tensor, the seventh a type of number")
    storage, offset, shape, strides = arguments[:4]
    return stored_tensor(storage, offset, shape, strides, arguments[6])


def _parameter(arguments: tuple[Any, ...], budget: Budget) -> StoredTensor:
    if not 1 <= len(arguments) <= 4 or not isinstance(arguments[0], StoredTensor):
        raise CheckpointError("expected a parameter made of a tensor")
    return arguments[0]


def _persistent(arguments: tuple[Any, ...], budget: Budget) -> Record:
    """Turn StyleGAN's persistent object into a record; the source code that it carries is hashed and dropped."""
    (meta,) = expect(arguments, 1, "a persistent object")
    if type(meta) is not dict or meta.get("type") != "class":
        raise CheckpointError("expected a persistent object that describes a class")
    name, source = meta.get("class_name"), meta.get("module_src")
    if not isinstance(name, str) or not isinstance(source, str):
        raise CheckpointError("expected a persistent object with class_name and module_src as texts")
    budget.take(sys.getsizeof(source))
    record = Record(name[:200], source_sha256=hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest())
    record.build(meta.get("state"))
    return record


def _mapping(arguments: tuple[Any, ...], budget: Budget) -> dict[Any, Any]:
    """Make the empty mapping that items are then put into; torch also writes pairs as an argument, always none."""
    if arguments not in ((), ([],)):
        raise CheckpointError("expected a mapping that starts empty")
    return {}


def _set(arguments: tuple[Any, ...], budget: Budget) -> set[Any]:
    (values,) = expect(arguments, 1, "a set")
    if type(values) is not list:
        raise CheckpointError("expected a set made of a list")
    budget.spend(len(values))
    return {hashable(value, budget) for value in values}


def _size(arguments: tuple[Any, ...], budget: Budget) -> tuple[int, ...]:
    return whole_numbers(expect(arguments, 1, "a size")[0], "a size")


def _device(arguments: tuple[Any, ...], budget: Budget) -> str:
    return str(arguments[0]) if arguments and isinstance(arguments[0], str) else ""


def _numpy_type(arguments: tuple[Any, ...], budget: Budget) -> NumpyType:
    if not arguments or not isinstance(arguments[0], str) or arguments[0] not in _NUMPY:
        raise CheckpointError("expected a numpy type of plain numbers; objects, structures and texts are refused")
    return NumpyType(arguments[0])


def _numpy_scalar(arguments: tuple[Any, ...], budget: Budget) -> Any:
    kind, data = expect(arguments, 2, "a numpy number")
    return numpy_array(data, kind, (), "C").item()


def _numpy_empty(arguments: tuple[Any, ...], budget: Budget) -> NumpyArray:
    return NumpyArray()


def _numpy_frombuffer(arguments: tuple[Any, ...], budget: Budget) -> NumpyArray:
    data, kind, shape, order = expect(arguments, 4, "a numpy array")
    return NumpyArray(numpy_array(data, kind, shape, order))


def _never(full: str) -> Builder:
    """Return the builder of a name that only ever is an argument."""

    def refuse(arguments: tuple[Any, ...], budget: Budget) -> Any:
        raise CheckpointError(f"refused: the checkpoint calls '{full}', which only names a type in the published networks")

    return refuse


def _record(full: str, arguments: tuple[Any, ...]) -> Record:
    """Return an empty record for a plain module, which pickles without arguments."""
    if arguments:
        raise CheckpointError(f"refused: the checkpoint calls '{full}' with arguments; modules only have a state")
    return Record(full)


def _no_bytes(arguments: tuple[Any, ...], budget: Budget) -> memoryview:
    """Return no bytes, which protocol 2 writes as a call."""
    expect(arguments, 0, "empty bytes")
    return memoryview(b"")


def _encode(arguments: tuple[Any, ...], budget: Budget) -> memoryview:
    """Undo how protocol 2 writes bytes: as text of the same code points."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] != "latin1":
        raise CheckpointError("expected bytes written as latin1 text")
    budget.take(len(arguments[0]))
    try:
        return memoryview(arguments[0].encode("latin1"))
    except UnicodeEncodeError:
        raise CheckpointError("expected bytes written as latin1 text") from None


_BUILDERS: Mapping[str, Builder] = {
    "torch_utils.persistence._reconstruct_persistent_obj": _persistent,
    "dnnlib.util.EasyDict": _mapping,
    "collections.OrderedDict": _mapping,
    **{f"{builtins}.{kind}": _set for builtins in ("builtins", "__builtin__") for kind in ("set", "frozenset")},
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_type,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch.Size": _size,
    "torch.device": _device,
    "numpy.dtype": _numpy_type,
    "_codecs.encode": _encode,
    "__builtin__.bytes": _no_bytes,
    **{f"numpy.{core}.multiarray.scalar": _numpy_scalar for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray._reconstruct": _numpy_empty for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _numpy_frombuffer for core in ("core", "_core")},
}
_NAMES: Mapping[str, Any] = {
    **{full: Name(full, builder) for full, builder in _BUILDERS.items()},
    **{full: Name(full, _never(full)) for full in (*STORAGES, "numpy.ndarray")},
    **{str(dtype): dtype for dtype in STORAGES.values()},
}


def resolve(full: str) -> Any:
    """Return what a name in a checkpoint stands for: a `Name` with its builder or a type of number; None for any other name."""
    if full in _NAMES:
        return _NAMES[full]
    if len(full) < 200 and _MODULE.fullmatch(full):
        return Name(full, lambda arguments, budget: _record(full, arguments))
    return None
