"""Names of files as every kind of source reads them: as text whatever the locale, which are hidden, and which mean the same.

A name is bytes to the system and UTF-8 text to this toolkit, undecodable bytes surrogate-escaped; what the bytes of a file are
is the business of `images`, never of its name.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence

from ...manifests.terminal import escaped

SYSTEM_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "icon\r"})
"""Files and folders that systems leave among pictures, in lower case."""
PICTURES = frozenset(
    ("jpg", "jpeg", "jpe", "jfif", "png", "apng", "webp", "gif", "tif", "tiff", "avif", "heic", "heif", "bmp", "dib", "ppm",
     "pgm", "pbm", "pnm", "jp2", "j2k", "jxl", "psd", "exr", "hdr", "dng", "cr2", "cr3", "nef", "arw", "raf", "mpo")
)  # fmt: skip
"""Endings of pictures; they only settle to which of several files of one key a label belongs."""


def to_bytes(name: str) -> bytes:
    """Return the system's bytes of a name; `os.fsencode` would fail on "ü" under LC_ALL=C."""
    return name.encode("utf-8", "surrogateescape")


def to_text(name: bytes) -> str:
    """Return the text of a name's bytes."""
    return name.decode("utf-8", "surrogateescape")


def native(name: str) -> str:
    """Return a name of this toolkit as the text that Python's file functions take in this locale."""
    return os.fsdecode(to_bytes(name))


def from_native(name: str) -> str:
    """Return a name that came from the system, such as an argument, as this toolkit's text, the same in every locale."""
    return to_text(os.fsencode(name))


def printable(text: str) -> str:
    """Return a text that any output takes: bytes that are no UTF-8 as \\udcXX escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(text: str) -> str:
    """Return a name for a message: as `printable`, with control characters as escapes, so that no terminal obeys them."""
    return escaped(printable(text))


def storable(text: str) -> str:
    """Return a name that has a form in bytes: halves of characters, which no bytes stand for, as escapes."""
    try:
        to_bytes(text)
    except UnicodeEncodeError:
        return printable(text)
    return text


def is_text(text: str) -> bool:
    """Tell whether a text has a UTF-8 form, so that databases and tables take it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is a dot file or a system's own."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def hidden_part(parts: Sequence[str]) -> str:
    """Return the path up to its first hidden part, with a slash where that is a folder; empty where nothing is hidden."""
    for index, part in enumerate(parts):
        if is_hidden(part) and part not in (".", ".."):
            return "/".join(parts[: index + 1]) + ("/" if index + 1 < len(parts) else "")
    return ""


def comparable(path: str) -> str:
    """Return what paths that mean the same file have in common: composed letters, forward slashes, no "./" before it."""
    path = unicodedata.normalize("NFC", path).replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path
