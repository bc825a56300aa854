"""Whatever is in a checkpoint, reading it costs little, ends in one of our own errors, and leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
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
from spherehead import cli
from spherehead.manifests.config import ConfigError
from spherehead.model.interop.convert import convert
from spherehead.model.interop.limits import Budget, CheckpointError, Limits, shown
from spherehead.model.interop.networks import plain
from spherehead.model.interop.rebuild import NumpyArray, NumpyType, numpy_array
from spherehead.model.interop.torch_files import read_checkpoint
from spherehead.model.interop.zip_members import zip_members
from spherehead.model.store import ModelStoreError, whole_folder

CASES = (
    "encoded_often", "long_storage_keys", "overlapping_zip", "equal_keys", "sets_of_a_long_list", "hashed_often",
    "inner_files_often", "wide_text", "empty_sets", "remembered_records", "names_of_classes", "long_settings",
    "modules_with_many_names", "modules_of_absent_modules", "tensors_looked_through_often",
)  # fmt: skip
MEASURED = """
import resource, sys, time
from pathlib import Path
from spherehead.model.interop.convert import convert
from spherehead.model.interop.limits import CheckpointError
start = time.process_time()
try:
    convert(Path(sys.argv[1]), Path(sys.argv[2]), discriminator=False)
except CheckpointError:
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def test_every_case_is_tried(hostile: ModuleType) -> None:
    assert set(CASES) == set(hostile.CASES)


@pytest.mark.parametrize("case", CASES)
def test_small_files_that_ask_for_much_are_refused_soon(case: str, hostile: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile.CASES[case](4_000_000))
    start = time.process_time()
    with pytest.raises(CheckpointError):
        convert(path, tmp_path / "deep" / "model", discriminator=False)
    assert time.process_time() - start < 20
    assert [entry.name for entry in tmp_path.iterdir()] == ["hostile.pkl"]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_twenty_megabytes_take_at_most_a_gigabyte_and_twenty_seconds(case: str, hostile: ModuleType, tmp_path: Path) -> None:
    """Measured on a process of its own: its whole memory, Python and PyTorch included."""
    path = tmp_path / "hostile.pkl"
    path.write_bytes(hostile.CASES[case](19_000_000))
    assert path.stat().st_size <= 21_000_000
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path), str(tmp_path / "model")], capture_output=True, text=True, timeout=600
    )
    seconds, memory = map(float, done.stdout.split())
    assert seconds < 20 and memory < 1e9, (seconds, memory)
    assert [entry.name for entry in tmp_path.iterdir()] == ["hostile.pkl"]


def test_bytes_that_are_built_are_limited_by_the_size_of_the_file() -> None:
    budget = Budget(Limits(built_bytes=1_000, built_share=2.0), file_bytes=100)
    for _ in range(12):
        budget.take(100)
    with pytest.raises(CheckpointError, match="at most 1,200 bytes of texts and data"):
        budget.take(1)


def test_the_clock_ends_what_steps_and_bytes_allow() -> None:
    budget = Budget(Limits(seconds=0.001))
    with pytest.raises(CheckpointError, match="s of work"):
        for _ in range(500_000):
            budget.spend(1)


PIECES = st.one_of(
    st.sampled_from([bytes([code]) for code in b"()]}N0.tuleas12bQRE\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94"]),
    st.sampled_from(
        [
            f"c{module}\n{last}\n".encode()
            for module, last in (
                ("collections", "OrderedDict"), ("_codecs", "encode"), ("__builtin__", "set"), ("torch", "Size"),
                ("torch", "FloatStorage"), ("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor_v3"),
                ("torch._utils", "_rebuild_parameter"), ("torch.storage", "_load_from_bytes"), ("numpy", "dtype"),
                ("numpy.core.multiarray", "scalar"), ("numpy.core.multiarray", "_reconstruct"), ("os", "system"),
                ("numpy.core.numeric", "_frombuffer"), ("torch_utils.persistence", "_reconstruct_persistent_obj"),
                ("training.triplane", "OSGDecoder"),
            )
        ]
    ),
    st.sampled_from(["storage", "latin1", "f4", "<", "C", "class", "type", "class_name", "module_src", "state"]).map(
        lambda word: b"\x8c" + bytes([len(word)]) + word.encode()
    ),
    st.integers(0, 3).map(lambda index: b"q" + bytes([index])),
    st.integers(0, 3).map(lambda index: b"h" + bytes([index])),
    st.integers(-(2**127), 2**127 - 1).map(lambda value: b"\x8a\x10" + value.to_bytes(16, "little", signed=True)),
    st.integers(0, 8).map(lambda value: b"K" + bytes([value])),
    st.binary(max_size=12).map(lambda data: b"C" + bytes([len(data)]) + data),
    st.text(max_size=6).map(lambda word: b"\x8c" + bytes([len(word.encode())]) + word.encode()),
    st.sampled_from(
        [
            pickle.dumps(value, 2)[2:-1]
            for value in (torch.Size((2, 3)), {"a": [1, (2.5, None)]}, {1, "a"}, b"\xff\x00")
        ]
    ),
    st.binary(max_size=3),
)  # fmt: skip
"""Opcodes, names, numbers and texts, of which most make sense one after the other."""


def read_or_refuse(folder: Path, data: bytes) -> None:
    """Read bytes as a checkpoint; any other error than ours fails the test."""
    path = folder / "any.pkl"
    path.write_bytes(data)
    try:
        read_checkpoint(path, Limits(steps=5_000))
    except CheckpointError as error:
        assert len(str(error)) < 2_000


def any_pickle(folder: Path, pieces: list[bytes]) -> None:
    read_or_refuse(folder, b"\x80\x02" + b"".join(pieces))


def zipped() -> bytes:
    file = io.BytesIO()
    torch.save({"a": torch.arange(4.0), "b": torch.ones(2, 2).half()}, file)
    return file.getvalue()


ZIP = zipped()
CHANGES = st.lists(st.tuples(st.integers(0, len(ZIP) - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=6)


def changed_zip(folder: Path, changes: list[tuple[int, bytes]]) -> None:
    """Write bytes over a torch file, most of them among its headers at the end."""
    data = bytearray(ZIP)
    for place, new in changes:
        data[place : place + len(new)] = new
    read_or_refuse(folder, bytes(data))
    try:
        members = zip_members(memoryview(bytes(data)), Budget(Limits(), len(data)))
        assert sum(len(member) for member in members.values()) <= len(data)
    except CheckpointError:
        pass


QUIET = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}


@given(pieces=st.lists(PIECES, max_size=30))
@settings(max_examples=200, **QUIET)  # type: ignore[arg-type]
def test_any_pickle_gives_a_value_or_our_own_error(pieces: list[bytes], tmp_path: Path) -> None:
    any_pickle(tmp_path, pieces)


@given(changes=CHANGES)
@settings(max_examples=200, **QUIET)  # type: ignore[arg-type]
def test_any_zip_gives_members_that_lie_in_it_or_our_own_error(changes: list[tuple[int, bytes]], tmp_path: Path) -> None:
    changed_zip(tmp_path, changes)


@pytest.mark.slow
@given(pieces=st.lists(PIECES, max_size=16))
@settings(max_examples=10_000, **QUIET)  # type: ignore[arg-type]
def test_ten_thousand_pickles(pieces: list[bytes], tmp_path: Path) -> None:
    any_pickle(tmp_path, pieces)


@pytest.mark.slow
@given(changes=CHANGES)
@settings(max_examples=10_000, **QUIET)  # type: ignore[arg-type]
def test_ten_thousand_zips(changes: list[tuple[int, bytes]], tmp_path: Path) -> None:
    changed_zip(tmp_path, changes)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5) | st.just("\ud800\x1b[2J"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
FIELDS = (
    "depth_resolution", "depth_resolution_importance", "ray_start", "ray_end", "box_warp", "c_scale", "triplane_depth",
    "decoder_activation", "c_gen_conditioning_zero", "render_mode", "white_back", "superresolution_noise_mode",
    "superresolution_module",
)  # fmt: skip


@given(changes=st.dictionaries(st.sampled_from(FIELDS), VALUES, min_size=1, max_size=3), neural=VALUES)
@settings(max_examples=30, **QUIET)  # type: ignore[arg-type]
def test_any_settings_convert_or_are_refused(
    changes: dict[str, Any], neural: Any, shared: Path, published: ModuleType, tmp_path: Path
) -> None:
    snapshot = published.snapshot(published.reference(shared, "panohead"))
    snapshot["G_ema"].rendering_kwargs.update(changes)
    snapshot["G_ema"].neural_rendering_resolution = neural
    path = published.write(tmp_path / "a.pkl", {"G_ema": snapshot["G_ema"]})
    out = tmp_path / "model"
    try:
        convert(path, out, discriminator=False)
    except (CheckpointError, ConfigError, ModelStoreError) as error:
        assert not out.exists() and len(str(error)) < 5_000
    else:
        for file in out.iterdir():
            file.unlink()
        out.rmdir()


def test_sampling_beyond_every_use_is_refused(shared: Path, published: ModuleType, tmp_path: Path) -> None:
    snapshot = published.snapshot(published.reference(shared, "panohead"))
    snapshot["G_ema"].rendering_kwargs["depth_resolution"] = 10**12
    path = published.write(tmp_path / "a.pkl", snapshot)
    with pytest.raises(ConfigError, match="coarse_samples of 4 to 4096, got 1000000000000"):
        convert(path, tmp_path / "model")


def test_a_folder_that_cannot_be_written_is_told(
    shared: Path, published: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = published.write(tmp_path / "a.pkl", published.snapshot(published.reference(shared, "panohead")))
    (tmp_path / "file").write_text("mine")
    assert cli.main(["convert", str(path), "--out", str(tmp_path / "file" / "model")]) == 2
    told = capsys.readouterr().err
    assert "cannot write the model folder" in told and "choose another --out" in told
    assert cli.main(["convert", str(path), "--out", str(tmp_path / "model"), "--like", "panohead-512"]) == 2
    assert "leave --like out" in capsys.readouterr().err
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.pkl", "file"]


def test_a_pipe_is_called_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(CheckpointError, match="a pipe is there"):
        read_checkpoint(tmp_path / "pipe.pkl")
    (tmp_path / "link.pkl").symlink_to(tmp_path / "gone.pkl")
    with pytest.raises(CheckpointError, match="a broken link is there"):
        read_checkpoint(tmp_path / "link.pkl")


def test_keys_reach_the_terminal_without_control_characters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ({"\x1b[31mred\ud800": 1}, {"\x1b]0;title\x07": {"a": 1}}, {"\ud800": [1]}):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        assert cli.main(["convert", str(tmp_path / "a.pkl"), "--out", str(tmp_path / "model")]) == 2
    told = capsys.readouterr().err
    assert told.isprintable() or set("".join(char for char in told if not char.isprintable())) == {"\n"}
    assert "\\x1b[31mred\\ud800" in told and "internal" not in told
    assert shown("\ud800" * 300) == "'" + "\\ud800" * 100 + "'..."


def test_a_disk_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError, match="full"), whole_folder(tmp_path / "new" / "deeper" / "model") as folder:
        (folder / "half").write_text("written")
        raise OSError("full")
    assert not list(tmp_path.iterdir())
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    with whole_folder(tmp_path / "link") as folder:
        (folder / "a.json").write_text(json.dumps(1))
    assert (tmp_path / "there" / "a.json").is_file() and (tmp_path / "link").is_symlink()


def test_zip_with_64_bit_sizes_is_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("a/data.pkl", "w", force_zip64=True) as member:
            member.write(pickle.dumps([1, 2], 2))
        archive.writestr("a/version", b"3\n")
    (tmp_path / "a.pt").write_bytes(file.getvalue())
    assert read_checkpoint(tmp_path / "a.pt").value == [1, 2]


def test_arrays_without_numbers_do_not_become_lists_without_end(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="without numbers"):  # numpy itself would raise its own error
        numpy_array(memoryview(b""), NumpyType("f4"), (1 << 31, 1 << 31, 1 << 31, 0), "C")
    path = tmp_path / "wide.pkl"
    path.write_bytes(pickle.dumps(np.empty((1 << 22, 0))))
    with pytest.raises(CheckpointError, match="without numbers"):
        read_checkpoint(path)
    wide = NumpyArray(np.empty((1 << 16, 0)))
    assert plain(wide) == "numpy array (65536, 0)"
    assert plain(NumpyArray(np.array([[1.0, np.nan]]))) == [[1.0, "nan"]]
