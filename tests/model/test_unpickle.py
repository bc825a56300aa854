"""Checkpoints are read without running anything: what they may hold comes back, everything else is refused by name."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import time
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spherehead.model.interop.limits import CheckpointError, Limits
from spherehead.model.interop.rebuild import NumpyArray, StoredTensor
from spherehead.model.interop.torch_files import read_checkpoint


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


def read(folder: Path, data: bytes, limits: Limits | None = None) -> Any:
    path = folder / "checkpoint.pkl"
    path.write_bytes(data)
    return read_checkpoint(path, limits).value


def refusal(folder: Path, data: bytes, limits: Limits | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(folder, data, limits)
    return str(caught.value)


def name(full: str) -> bytes:
    """The opcode that names a function or class."""
    module, _, last = full.rpartition(".")
    return b"c" + module.encode() + b"\n" + last.encode() + b"\n"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


START = b"\x80\x02"

VALUES: list[Any] = [
    None, True, -3, 70_000, 2**70, -1.5, "text \U0001f600", [1, [2]], (), (1, 2, 3, 4), {"a": {"b": None}, 3: 4}, {1, "a"},
    frozenset({2}), collections.OrderedDict(a=1),
]  # fmt: skip


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_numbers_texts_and_containers_come_back(protocol: int, tmp_path: Path) -> None:
    assert read(tmp_path, pickle.dumps(VALUES, protocol)) == VALUES


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    ),
    protocol=st.integers(2, 5),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plain_value_comes_back(value: Any, protocol: int, tmp_path: Path) -> None:
    assert read(tmp_path, pickle.dumps(value, protocol)) == value


TENSORS = {
    "plain": torch.arange(6.0).reshape(2, 3),
    "turned": torch.arange(6).reshape(2, 3).T,
    "part": torch.arange(20.0)[5:15:2],
    "half": torch.tensor([1.5, -2.0]).half(),
    "bfloat16": torch.tensor([1.5, -2.0]).bfloat16(),
    "bool": torch.tensor([True, False]),
    "number": torch.tensor(3.0),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(torch.ones(2)),
}


def typed(tensor: torch.Tensor) -> Any:
    """The storage of a tensor as torch pickles it."""
    return torch.storage.TypedStorage(wrap_storage=tensor.untyped_storage(), dtype=tensor.dtype, _internal=True)


def as_pickle(value: Any, protocol: int) -> bytes:
    return pickle.dumps(value, protocol)


def as_torch_file(value: Any, zipped: bool) -> bytes:
    file = io.BytesIO()
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.parametrize("kind", [2, 3, 4, 5, "zip", "legacy"])
def test_tensors_come_back_bit_for_bit(kind: Any, tmp_path: Path) -> None:
    data = as_pickle(TENSORS, kind) if isinstance(kind, int) else as_torch_file(TENSORS, kind == "zip")
    found = read(tmp_path, data)
    assert found.keys() == TENSORS.keys()
    for key, wanted in TENSORS.items():
        assert isinstance(found[key], StoredTensor)
        tensor = found[key].tensor()
        assert tensor.dtype == wanted.dtype and torch.equal(tensor, wanted) and tensor.is_contiguous(), key


@pytest.mark.parametrize("zipped", [False, True])
def test_storages_inside_a_pickle_may_be_of_either_torch_format(zipped: bool, tmp_path: Path) -> None:
    inner = as_torch_file(typed(torch.arange(4.0)), zipped)
    storage = Calls(torch.storage._load_from_bytes, inner)  # type: ignore[attr-defined]
    tensor = Calls(torch._utils._rebuild_tensor_v2, storage, 1, (3,), (1,), False, collections.OrderedDict())
    assert torch.equal(read(tmp_path, pickle.dumps(tensor)).tensor(), torch.tensor([1.0, 2.0, 3.0]))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_numpy_numbers_and_arrays_come_back(protocol: int, tmp_path: Path) -> None:
    arrays = [np.arange(3), np.ones((2, 2), np.float32).T, np.array([[1, 2], [3, 4]], order="F"), np.zeros((0, 2))]
    found = read(tmp_path, pickle.dumps([np.float64(2.5), np.int64(7), np.bool_(True), *arrays], protocol))
    assert found[:3] == [2.5, 7, True] and type(found[0]) is float
    for got, wanted in zip(found[3:], arrays, strict=True):
        assert isinstance(got, NumpyArray)
        assert got.array.dtype == wanted.dtype and np.array_equal(got.array, wanted)


HOSTILE = {
    "os.system": Calls(os.system, "touch ran"),
    "builtins.eval": Calls(eval, "open('ran', 'w')"),
    "builtins.exec": Calls(exec, "open('ran', 'w')"),
    "builtins.getattr": Calls(getattr, "text", "__class__"),
    "builtins.__import__": Calls(__import__, "os"),
    "builtins.open": Calls(open, "ran", "w"),
    "_io.open": Calls(open, "ran", "w"),
    "operator.attrgetter": Calls(__import__("operator").attrgetter, "__class__"),
    "functools.partial": Calls(__import__("functools").partial, print),
    "subprocess.Popen": Calls(__import__("subprocess").Popen, ["touch", "ran"]),
    "torch.serialization.load": Calls(torch.load, "ran"),
    "numpy.load": Calls(np.load, "ran"),
    "pickle.loads": Calls(pickle.loads, pickle.dumps(1)),
    "builtins.object": Calls(object),
    "builtins.type": Calls(type, "text"),
    "copyreg._reconstructor": Calls(__import__("copyreg")._reconstructor, object, object, None),
}


@pytest.mark.parametrize("full", HOSTILE)
def test_calls_of_anything_else_are_refused_by_full_name(full: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (pickle.dumps(HOSTILE[full]), pickle.dumps([{"G_ema": [HOSTILE[full]]}], 5)):
        assert "refused" in refusal(tmp_path, data)
    message = refusal(tmp_path, START + name(full) + b")R.")
    assert f"'{full}'" in message and "nothing of it was run" in message
    assert not Path("ran").exists()


TAILS = {
    "INST": b"(" + text("touch ran") + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + text("touch ran") + b"o.",
    "STRING": b"S'a'\n.",
    "INT": b"I1\n.",
    "EXT1": b"\x82\x01.",
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_opcodes_that_published_checkpoints_do_not_use_are_refused(tail: bytes, tmp_path: Path) -> None:
    message = refusal(tmp_path, START + tail)
    assert "is not used" in message or "os.system" in message


def test_hostile_payloads_inside_torch_files_are_refused(tmp_path: Path) -> None:
    for zipped in (True, False):
        hostile = as_torch_file([Calls(os.system, "touch ran")], zipped)
        assert "system" in refusal(tmp_path, hostile)
        inside = Calls(torch.storage._load_from_bytes, hostile)  # type: ignore[attr-defined]
        assert "system" in refusal(tmp_path, pickle.dumps(inside))
        twice = as_torch_file(Calls(torch.storage._load_from_bytes, as_torch_file(1, zipped)), zipped)  # type: ignore[attr-defined]
        assert "torch.storage._load_from_bytes" in refusal(tmp_path, pickle.dumps(Calls(torch.storage._load_from_bytes, twice)))  # type: ignore[attr-defined]


def test_names_are_no_values_to_change_or_call_otherwise(tmp_path: Path) -> None:
    ordered = name("collections.OrderedDict")
    module = name("training.triplane.OSGDecoder")
    cases = {
        START + ordered + b"}" + text("fromkeys") + b"K\x01sb.": "sets the state of 'collections.OrderedDict'",
        START + name("torch.FloatStorage") + b")R.": "torch.FloatStorage",
        START + module + text("argument") + b"\x85R.": "with arguments",
        START + module + b")R" + b"K\x01b.": "as a mapping",
        START + b"]" + b")R.": "calls a value of type 'list'",
        START + ordered + b"K\x01\x85R.": "starts empty",
        START + name("training.triplane.OSGDecoder.__init__.__globals__"): "training.triplane.OSGDecoder.__init__.__globals__",
        START + name("torch.nn.modules.container.__builtins__"): "__builtins__",
        START + name("torch_utils.persistence.import_hook"): "torch_utils.persistence.import_hook",
    }
    for data, part in cases.items():
        assert part in refusal(tmp_path, data)


def test_state_given_to_one_value_changes_no_later_reading(tmp_path: Path) -> None:
    read(tmp_path, START + name("collections.OrderedDict") + b")R" + b"}" + text("update") + b"K\x01sb.")
    assert read(tmp_path, pickle.dumps(collections.OrderedDict(a=1))) == {"a": 1}


def test_every_truncation_is_a_clear_error(published: ModuleType, tmp_path: Path) -> None:
    module = published.persistent("Generator", {"z_dim": 4})
    module.register_parameter("weight", torch.nn.Parameter(torch.ones(20)))
    whole = published.write(tmp_path / "whole.pkl", {"G": module}).read_bytes()
    files = [whole, as_torch_file(TENSORS, True), as_torch_file(TENSORS, False)]
    for data in files:
        step = max(1, len(data) // 150)
        for end in range(1, len(data), step):
            refusal(tmp_path, data[:end])


def test_flipped_bytes_give_values_or_clear_errors_only(published: ModuleType, tmp_path: Path) -> None:
    module = published.persistent("Generator", {"z_dim": 4})
    module.register_parameter("weight", torch.nn.Parameter(torch.ones(3)))
    whole = published.write(tmp_path / "whole.pkl", {"G": module}).read_bytes()
    rng = np.random.default_rng(0)
    for data in (whole, as_torch_file(TENSORS, True), as_torch_file(TENSORS, False)):
        for _ in range(250):
            changed = bytearray(data)
            for place in rng.integers(0, len(data), 3):
                changed[place] = int(rng.integers(256))
            try:
                read(tmp_path, bytes(changed), Limits(steps=20_000))
            except CheckpointError:
                continue


BOMBS = {
    "nested tuples": (b")" + b"\x85" * 200_000 + b".", "containers within each other"),
    "nested lists": (b"]" * 100_000 + b"a" * 99_999 + b".", "containers within each other"),
    "open marks": (b"(" * 300 + b"N.", "open containers"),
    "values that wait": (b"N" * 300_000, "values in"),
    "steps": (b"N0" * 1_100_000 + b"N.", "steps"),
    "huge text": (b"X" + struct.pack("<I", 2**31) + b"a", "texts of at most"),
    "huge bytes": (b"B" + struct.pack("<I", 2**31) + b"a", "truncated"),
    "huge number": (b"\x8a\xff" + b"\x01" * 255 + b".", "whole numbers of at most"),
    "huge number, long form": (b"\x8b" + struct.pack("<i", 2**30), "is not used"),
    "deep key": (b"})" + b"\x85" * 200 + b"Ns.", "as keys"),
    "unhashable key": (b"}]Ns.", "as keys"),
    "empty stack": (b".", "one value"),
    "pop of nothing": (b"0.", "empty stack"),
    "no mark": (b"t.", "mark"),
    "recall of nothing": (b"h\x07.", "never remembered"),
    "key without value": (b"}(Nu.", "value for every key"),
    "append to a number": (b"K\x01Na.", "expected a list"),
    "persistent id": (b"K\x01Q.", "outside the pickle"),
    "bad text": (b"X\x01\x00\x00\x00\xff.", "UTF-8"),
    "endless name": (b"c" + b"a" * 5000, "name of at most"),
    "protocol": (b"\x80\x09N.", "protocol 2 to 5"),
    "two values": (b"NN.", "one value"),
}


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_and_nonsense_end_soon_with_a_clear_error(case: str, tmp_path: Path) -> None:
    body, part = BOMBS[case]
    start = time.process_time()
    assert part in refusal(tmp_path, START + body)
    assert time.process_time() - start < 10


def test_shared_values_are_not_multiplied(tmp_path: Path) -> None:
    """A billion laughs: 60 levels of a pair of the level below, which only costs when somebody expands it."""
    body = b"]q\x00" + b"".join(b"]h%ch%c\x86aq%c" % (level, level, level + 1) for level in range(60))
    value = read(tmp_path, START + b"(" + body + b"t.")
    assert len(value) == 61


def test_tensors_stay_inside_their_storage(tmp_path: Path) -> None:
    storage = typed(torch.arange(4.0))
    for offset, shape, strides in [
        (1, (4,), (1,)), (0, (5,), (1,)), (0, (2, 2), (4, 1)), (0, (1000, 1000), (0, 0)), (-1, (2,), (1,)), (0, (2,), (-1,)),
        (0, (4,), ()), (0, (True, 2), (1, 1)), (0, (1,) * 9, (1,) * 9), (0, (2**62, 2**62, 2**62), (0, 0, 0)), (0, [2], (1,)),
    ]:  # fmt: skip
        tensor = Calls(torch._utils._rebuild_tensor_v2, storage, offset, shape, strides, False, collections.OrderedDict())
        assert "expected" in refusal(tmp_path, pickle.dumps(tensor))


def test_numpy_objects_and_wrong_sizes_are_refused(tmp_path: Path) -> None:
    assert "plain numbers" in refusal(tmp_path, pickle.dumps(np.array([{"a": 1}, None], dtype=object)))
    assert "plain numbers" in refusal(tmp_path, pickle.dumps(np.array([("a", 1)], dtype=[("x", "U4"), ("y", "i4")])))
    assert "little-endian" in refusal(tmp_path, pickle.dumps(np.arange(3, dtype=">i4")))
    short = pickle.dumps(np.arange(3, dtype="i4")).replace(b"K\x03\x85", b"K\x09\x85")
    assert "36 bytes" in refusal(tmp_path, short)


def test_packed_or_damaged_zips_are_refused(tmp_path: Path) -> None:
    whole = as_torch_file(TENSORS, True)
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for member in before.namelist():
            after.writestr(member, before.read(member))
    assert "not packed" in refusal(tmp_path, packed.getvalue())
    place = whole.index(torch.arange(6.0).numpy().tobytes())
    assert "checksum" in refusal(tmp_path, whole[:place] + b"\xff" + whole[place + 1 :])
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("archive/notes", b"")
    assert "one data.pkl" in refusal(tmp_path, empty.getvalue())


def test_size_of_the_file_is_bounded_and_missing_files_are_named(tmp_path: Path) -> None:
    assert "1 to 10 bytes" in refusal(tmp_path, pickle.dumps("a long enough text"), Limits(file_bytes=10))
    assert "has 0" in refusal(tmp_path, b"")
    for path, there in ((tmp_path / "absent.pkl", "nothing is there"), (tmp_path, "a folder is there")):
        with pytest.raises(CheckpointError, match=f"found none at .*: {there}"):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html><head><title>Sign in</title>", ["begins with '<!DOCTYPE html>", "download it again"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", ["begins with 'version https://git-lfs", "a pointer"]),
        (b"just a note\n", ["begins with 'just a note", "it is text"]),
        (b"(dp0\nS'a'\np1\nI1\ns.", ["expected a pickle", "(dp0"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", ["begins with", "PNG"]),
        (b'\x98\x00\x00\x00\x00\x00\x00\x00{"a":', ["expected a pickle or a torch file"]),
    ],
)
def test_files_that_are_no_checkpoint_are_called_what_they_look_like(data: bytes, words: list[str], tmp_path: Path) -> None:
    told = refusal(tmp_path, data)
    assert all(word in told for word in words) and "\n" not in told
    assert ("it is text" in told) == data.isascii() and "opcode" not in told
