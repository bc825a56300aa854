"""The files that a mesh names - materials of an .obj, textures of an .obj or .ply - found as their writers meant them.

Names hold spaces, quotes, backslashes, options and folders of the machine that wrote them; trimesh takes the whole line for a
name. It asks `Companions` for each file, so that one rule finds them for reading and for telling which are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..assets.formats import AssetError

MAX_LINE = 4096
"""Characters of a line of an .mtl or header that are read."""
MAX_MATERIALS = 64 << 20
"""Bytes of all .mtl files together."""
_SWITCHES = {"-blendu", "-blendv", "-cc", "-clamp"}
_WORDS = {"-texres": 1, "-imfchan": 1, "-bm": 1, "-boost": 1, "-type": 1, "-mm": 2}
"""Options and the words that each takes; what they do to a colour's meaning is not drawn."""
_VECTORS = {"-o", "-s", "-t"}


@dataclass(frozen=True)
class Texture:
    """What a map_Kd line says."""

    name: str
    clamp: bool = False
    """Whether the picture does not repeat."""
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    """Texture coordinates are multiplied by the scale, then moved by the offset; v points up."""


def parse_texture(text: str) -> Texture:
    """Read what follows map_Kd: options, then a name that may hold spaces.

    Raises:
        ValueError: an option whose effect cannot be drawn truly.
    """
    rest, found = text.strip(), dict[str, Any]()
    while match := re.match(r"(-[a-zA-Z]+)(\s+|$)", rest):
        option, words = match.group(1).lower(), rest[match.end() :]
        if option in _SWITCHES:
            value, _, rest = words.partition(" ")
            found[option] = value.lower() == "on"
        elif option in _VECTORS:
            numbers, rest = _numbers(words)
            found[option] = numbers
        elif option in _WORDS:
            values, rest = words.split(maxsplit=_WORDS[option])[: _WORDS[option]], _after(words, _WORDS[option])
            found[option] = tuple(values)
        else:
            break
        rest = rest.strip()
    if any(found.get("-t", ())) or found.get("-mm", ("0", "1")) not in (("0", "1"), ("0.0", "1.0"), ("0.000", "1.000")):
        raise ValueError("turbulence (-t) and changed ranges (-mm) of a texture are not drawn")
    scale, offset = (*found.get("-s", ()), 1.0, 1.0)[:2], (*found.get("-o", ()), 0.0, 0.0)[:2]
    if len(found.get("-s", ())) == 1:
        scale = (scale[0], 1.0)
    return Texture(rest.strip("\"' \t"), found.get("-clamp", False), (scale[0], scale[1]), (offset[0], offset[1]))


def _numbers(words: str) -> tuple[tuple[float, ...], str]:
    """Take one to three numbers from the front of a text."""
    numbers: list[float] = []
    while len(numbers) < 3 and (match := re.match(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)(?=\s)", words)):
        numbers.append(float(match.group(1)))
        words = words[match.end() :]
    return tuple(numbers), words


def _after(words: str, count: int) -> str:
    return (words.split(maxsplit=count) + [""] * (count + 1))[count]


def find(folder: Path, name: str) -> Path | None:
    """Return the file that a name means: as told, with backslashes turned, by its last part beside the mesh, in any case."""
    slashed = name.strip("\"' \t").replace("\\", "/")
    last = PurePosixPath(slashed).name
    if not last or "\x00" in slashed or len(slashed) > MAX_LINE:
        return None
    for candidate in (folder / name, folder / slashed, folder / last):
        if _is_file(candidate):
            return candidate
    try:
        beside = sorted(entry for entry in folder.iterdir() if entry.name.lower() == last.lower())
    except OSError:
        return None
    return next((entry for entry in beside if _is_file(entry)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no name at all
        return False


@dataclass(frozen=True)
class Named:
    """A file that a mesh names."""

    text: str
    """The name as it stands."""
    path: Path | None
    """Where it is; None where it is not found."""


class Companions:
    """The files that a mesh names; trimesh takes it as a resolver."""

    def __init__(self, path: Path) -> None:
        """Look for the files of a mesh.

        Raises:
            AssetError: a file that cannot be read, or a texture whose options cannot be drawn.
        """
        self.path, self.files = path, list[Named]()
        try:
            kind = path.suffix.lower()
            if kind == ".obj":
                self._materials()
            elif kind == ".ply":
                self.files = [self._named(" ".join(words[2:])) for words in header_of_ply(path)
                              if words[:2] == ["comment", "TextureFile"]]  # fmt: skip
        except OSError as error:
            raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error

    def _named(self, name: str) -> Named:
        return Named(name, find(self.path.parent, name))

    def _materials(self) -> None:
        self._libraries = []
        for text in lines_of(self.path, "mtllib"):
            whole = self._named(text)
            # several names may stand on one line, and one name may hold spaces
            each = [whole] if whole.path or " " not in text else [self._named(name) for name in text.split()]
            several = each if all(named.path for named in each) else [whole]
            self._libraries += several
        self.files += self._libraries
        for library in self._libraries:
            for text in lines_of(library.path, "map_kd") if library.path else ():
                try:
                    name = parse_texture(text).name
                except ValueError as error:
                    raise AssetError(f"{library.path}: {error}") from error
                assert library.path is not None
                there = find(library.path.parent, name) or find(self.path.parent, name)
                self.files.append(Named(name, there))

    def missing(self) -> str:
        """Return the name of the first file that is not there; empty where all are."""
        return next((named.text for named in self.files if named.path is None), "")

    def get(self, name: str) -> bytes:
        """Return a file's bytes for trimesh, which asks by what follows mtllib, map_Kd or TextureFile.

        Raises:
            FileNotFoundError: it names no file.
        """
        if self.path.suffix.lower() == ".obj" and any(name.strip() == text for text in lines_of(self.path, "mtllib")):
            parts, room = [], MAX_MATERIALS
            for library in self._libraries:
                parts.append(library.path.read_bytes()[:room] if library.path else b"")
                room -= len(parts[-1])
            return b"\n".join(parts)
        wanted = parse_texture(name).name if self.path.suffix.lower() == ".obj" else name
        there = next((named.path for named in self.files if named.text in (wanted, name) and named.path), None)
        if there is None:
            raise FileNotFoundError(name)
        return there.read_bytes()

    __getitem__ = get


def lines_of(path: Path, word: str) -> Iterator[str]:
    """Yield what follows a word at the start of a file's lines, in any case."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line[:MAX_LINE].strip().split(maxsplit=1)
            if len(words) == 2 and words[0].lower() == word:
                yield words[1].strip()


def header_of_ply(path: Path) -> Iterator[list[str]]:
    """Yield the words of a .ply file's header, line by line."""
    with path.open("rb") as file:
        for _ in range(200):
            line = file.readline(MAX_LINE).decode("utf-8", errors="replace").strip()
            yield line.split()
            if line in ("", "end_header"):
                return
