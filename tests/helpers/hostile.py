"""Checkpoints that ask for far more than they are: each a few megabytes that would cost a reader hours or gigabytes."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable

START = b"\x80\x02"


def name(full: str) -> bytes:
    """The opcode that names a function or class."""
    module, _, last = full.rpartition(".")
    return b"c" + module.encode() + b"\n" + last.encode() + b"\n"


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def put(index: int) -> bytes:
    return b"q" + bytes([index])


def get(index: int) -> bytes:
    return b"h" + bytes([index])


def encoded_often(size: int) -> bytes:
    """A long text that is turned into bytes thousands of times."""
    start = text(b"a" * size) + put(0) + b"0" + text("latin1") + put(1) + b"0" + name("_codecs.encode") + put(2) + b"0]"
    return START + start + (get(2) + get(0) + get(1) + b"\x86Ra") * 4_000 + b"."


def long_storage_keys(size: int) -> bytes:
    """A legacy torch file with references to storages under two long keys that are equal, hundreds of thousands of times."""
    magic = START + b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    version = START + b"M" + struct.pack("<H", 1001) + b"."
    machine = START + b"}" + text("little_endian") + b"\x88s."
    half = size // 2
    ids = [text("storage") + put(0) + b"0", name("torch.FloatStorage") + put(1) + b"0", text("cpu") + put(2) + b"0"]
    keys = text(b"k" * half) + put(3) + b"0" + text(b"k" * half) + put(4) + b"0"
    use = [b"(" + get(0) + get(1) + get(key) + get(2) + b"K\x00tQa" for key in (3, 4)]
    return magic + version + machine + START + b"".join(ids) + keys + b"]" + b"".join(use) * 60_000 + b"." + START + b"]."


def overlapping_zip(size: int, count: int = 60_000) -> bytes:
    """A zip whose many entries all are the same large member."""
    body = bytes(size - count * 60)
    digest = zlib.crc32(body)
    local = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 20, 0, 0, 0, 0, digest, len(body), len(body), 0, 0)
    entries = b"".join(
        struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, digest, len(body), len(body),
                    len(named), 0, 0, 0, 0, 0, 0) + named
        for named in (f"a/data/{index}".encode() for index in range(count))
    )  # fmt: skip
    place = len(local) + len(body)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count % 65_536, count % 65_536, len(entries), place, 0)
    return local + body + entries + end


def equal_keys(size: int) -> bytes:
    """Two equal long texts as keys in turn: each is compared with the other, letter by letter."""
    half = size // 2
    keys = text(b"k" * half) + put(0) + b"0" + text(b"k" * half) + put(1) + b"0}"
    return START + keys + (get(0) + b"Ns" + get(1) + b"Ns") * 70_000 + b"."


def sets_of_a_long_list(size: int) -> bytes:
    """A set made of a list of a hundred thousand members, over and over."""
    members = b"".join(b"J" + struct.pack("<i", index) for index in range(100_000))
    start = b"](" + members + b"e" + put(0) + b"0" + name("__builtin__.set") + put(1) + b"0]"
    return START + start + (get(1) + get(0) + b"\x85Ra") * 90_000 + b"."


def hashed_often(size: int) -> bytes:
    """A class whose source text is long, many times."""
    state = text("type") + text("class") + text("class_name") + text("A") + text("module_src") + text(b"s" * size)
    meta = b"}(" + state + text("state") + b"}u" + put(0) + b"0"
    return (
        START
        + meta
        + name("torch_utils.persistence._reconstruct_persistent_obj")
        + put(1)
        + b"0]"
        + (get(1) + get(0) + b"\x85Ra") * 90_000
        + b"."
    )


def inner_files_often(size: int) -> bytes:
    """One torch file inside the pickle, read again and again."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", START + b"N.")
        archive.writestr("a/data/0", bytes(size))
    inner = file.getvalue()
    start = (
        b"B" + struct.pack("<I", len(inner)) + inner + put(0) + b"0" + name("torch.storage._load_from_bytes") + put(1) + b"0]"
    )
    return START + start + (get(1) + get(0) + b"\x85Ra") * 90_000 + b"."


def wide_text(size: int) -> bytes:
    """Letters that take four bytes each in memory, because one of them does."""
    return START + b"]" + (text(b"a" * (size // 2) + "\U0001f600".encode()) + b"a") * 2 + b"."


def empty_sets(size: int) -> bytes:
    """As many empty sets as a pickle may make."""
    return START + b"]" + (b"\x8fa" * 299_990) + b"."


def remembered_records(size: int) -> bytes:
    """As many modules as a pickle may make, each remembered."""
    start = name("torch.nn.modules.linear.Linear") + put(0) + b"0]"
    return b"\x80\x04" + start + (get(0) + b")R\x94a") * 119_000 + b"."


def names_of_classes(size: int) -> bytes:
    """Another class name each time."""
    return START + b"]" + b"".join(name(f"training.a.B{index}") + b"a" for index in range(290_000)) + b"."


def long_settings(size: int) -> bytes:
    """A network whose arguments hold one long text nine thousand times."""
    junk = b"](" + text(b"j" * size) + put(0) + get(0) * 8_999 + b"e"
    state = text("_init_kwargs") + b"}" + text("junk") + junk + b"s" + text("rendering_kwargs") + b"}"
    module = name("training.triplane.TriPlaneGenerator") + b")R}(" + state + b"ub"
    return START + b"}" + text("G_ema") + module + b"s."


def modules_with_many_names(size: int) -> bytes:
    """Modules that share a hundred thousand buffers without numbers, below each other and beside each other."""
    buffers = b"}(" + b"".join(text(f"{index}") + b"N" for index in range(100_000)) + b"u" + put(0) + b"0"
    layer = name("torch.nn.modules.linear.Linear") + put(1) + b"0"
    inner = get(1) + b")R}" + text("_buffers") + get(0) + b"sb" + put(2) + b"0"
    many = b"}(" + b"".join(text(f"m{index}") + get(2) for index in range(15_000)) + b"u"
    state = text("_init_kwargs") + b"}" + text("_modules") + many
    module = name("training.triplane.TriPlaneGenerator") + b")R}(" + state + b"ub"
    return START + buffers + layer + inner + b"}" + text("G_ema") + module + b"s."


def modules_of_absent_modules(size: int) -> bytes:
    """Twenty thousand modules that share twenty thousand names of modules that are not there."""
    absent = b"}(" + b"".join(text(f"{index}") + b"N" for index in range(19_999)) + b"u" + put(0) + b"0"
    layer = name("torch.nn.modules.linear.Linear") + put(1) + b"0"
    inner = get(1) + b")R}" + text("_modules") + get(0) + b"sb" + put(2) + b"0"
    many = b"}(" + b"".join(text(f"m{index}") + get(2) for index in range(19_990)) + b"u"
    state = text("_init_kwargs") + b"}" + text("_modules") + many
    module = name("training.triplane.TriPlaneGenerator") + b")R}(" + state + b"ub"
    return START + absent + layer + inner + b"}" + text("G_ema") + module + b"s."


def tensors_looked_through_often(size: int) -> bytes:
    """A torch file with a hundred thousand tensors under numbers for names, a hundred thousand times."""

    def filled(count: int, what: bytes) -> bytes:
        parts = [number(index) + what for index in range(count)]
        return b"}" + b"".join(b"(" + b"".join(parts[at : at + 50_000]) + b"u" for at in range(0, count, 50_000))

    storage = b"(" + text("storage") + name("torch.FloatStorage") + text("0") + text("cpu") + b"K\x01tQ"
    tensor = name("torch._utils._rebuild_tensor_v2") + b"(" + storage + b"K\x00K\x01\x85K\x01\x85\x89}tR" + put(0) + b"0"
    value = tensor + filled(140_000, get(0)) + put(1) + b"0" + filled(140_000, get(1)) + b"."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", START + value)
        archive.writestr("a/data/0", bytes(4))
    return file.getvalue()


CASES: dict[str, Callable[[int], bytes]] = {
    maker.__name__: maker
    for maker in (
        encoded_often, long_storage_keys, overlapping_zip, equal_keys, sets_of_a_long_list, hashed_often, inner_files_often,
        wide_text, empty_sets, remembered_records, names_of_classes, long_settings, modules_with_many_names,
        modules_of_absent_modules, tensors_looked_through_often,
    )
}  # fmt: skip
"""Makers of hostile files by name, given a size in bytes for those that are as long as one wants."""
