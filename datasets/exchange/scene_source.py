"""Scenes as sources: pictures whose cameras a transforms.json or COLMAP's text files know, and rigs of several persons.

`nerfstudio:PATH` and `colmap:PATH` open one scene in a folder or zip, `rig:DIR` a folder with a folder for each person. What a
scene shows stays in one split. Cameras must be in the head frame, as `export` writes them; whether they are is asked later.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ...manifests.config import ConfigError, user_path
from ..sample import Drop, Rights, SourceImage
from ..sources.base import Refused, Source, SourceError
from ..sources.folder import FolderSource
from ..sources.zips import ZipSource
from .colmap import PLACES, read_colmap
from .scenes import TRANSFORMS, Frame, read_transforms

NERFSTUDIO, COLMAP, RIG = "nerfstudio:", "colmap:", "rig:"
ENDINGS = ("", ".png", ".jpg", ".jpeg")
"""What may be missing behind a frame's name, as in Blender's scenes."""
FILES = frozenset({TRANSFORMS, "cameras.txt", "images.txt", "points3D.txt"})
"""Names of files that describe a scene and are no pictures."""


class SceneSource(Source):
    """The pictures of one scene, each with its camera and, where one lies there, its mask."""

    def __init__(self, label: str, path: Path, kind: str, person: str = "") -> None:
        """Read from a folder or zip.

        Args:
            label: name in manifests.
            path: folder or zip.
            kind: `NERFSTUDIO` or `COLMAP`.
            person: key of the person, where all pictures show one.

        Raises:
            SourceError: the description is missing or cannot be read, or no picture is in it.
        """
        self.label, self.kind, self.person = label, kind, person
        self._files = _opened(label, path)
        self._places: dict[str, SourceImage] | None = None
        if not self._frames():
            raise SourceError(f"expected pictures with cameras in the scene {label!r}, it names none")

    def __getstate__(self) -> dict[str, object]:
        """Travel to another process without the table of files."""
        return {**self.__dict__, "_places": None}

    def _listed(self) -> dict[str, SourceImage]:
        if self._places is None:
            entries = self._files.entries()
            self._places = {entry.path: entry for entry in entries if isinstance(entry, SourceImage)}
        return self._places

    def _text(self, name: str) -> bytes:
        """Return a describing file's bytes.

        Raises:
            SourceError: it is not there or cannot be read.
        """
        entry = self._listed().get(name)
        if entry is None:
            raise SourceError(f"expected {name} in the scene {self.label!r}, it is not there")
        try:
            return self._files.read(entry)
        except Drop as drop:
            raise SourceError(f"cannot read {name} of the scene {self.label!r}: {drop}") from drop

    def _frames(self) -> list[Frame]:
        """Read the description, names relative to the scene.

        Raises:
            SourceError: see `_text`; or it is malformed.
        """
        try:
            if self.kind == NERFSTUDIO:
                return [
                    dataclasses.replace(frame, name=_plain(frame.name)) for frame in read_transforms(self._text(TRANSFORMS))
                ]
            place = next((place for place in PLACES if f"{place}images.txt" in self._listed()), PLACES[0])
            frames = read_colmap(self._text(f"{place}cameras.txt"), self._text(f"{place}images.txt"))
        except ConfigError as error:
            raise SourceError(f"the scene {self.label!r}: {error}") from error
        return [
            dataclasses.replace(frame, name=f"images/{_plain(frame.name)}", mask=f"masks/{_plain(frame.name)}.png")
            for frame in frames
        ]

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name the scene's pictures by name; pictures that it does not name, and names without a picture, are refused."""
        files = self._listed()
        frames, masks = dict[str, Frame](), set[str]()
        for frame in self._frames():
            place = next((frame.name + ending for ending in ENDINGS if frame.name + ending in files), "")
            if not place:
                yield Refused(self.label, frame.name, "io_error", "the scene names it, and there is no such picture")
                continue
            if place in frames:
                yield Refused(self.label, place, "sidecar_mismatch", "the scene names this picture twice")
                continue
            frames[place] = frame
            masks.add(_plain(frame.mask))
        for path in sorted(files):
            if path in frames:
                yield self._entry(files[path], frames[path])
            elif path not in masks and posixpath.basename(path) not in FILES:
                yield Refused(self.label, path, "sidecar_mismatch", "the scene has no camera of it")

    def _entry(self, file: SourceImage, frame: Frame) -> SourceImage | Refused:
        if frame.size[0] != frame.size[1]:
            what = f"expected a square picture, as labels have, got {frame.size[0]} x {frame.size[1]}; crop the scene first"
            return Refused(self.label, file.path, "camera_invalid", what)
        rights = Rights(identity=self.person, group=f"scene {self.label}")
        known: Mapping[str, str] = {**file.sidecar, "camera": json.dumps(frame.camera.to_list())}
        mask = _plain(frame.mask)
        if mask and mask in self._listed():
            known = {**known, "mask": mask, "mask_stamp": self._listed()[mask].stamp}
        return SourceImage(self.label, file.path, file.num_bytes, file.stamp, rights, known)

    def read(self, image: SourceImage) -> bytes:
        """Return a picture's bytes; see `Source.read`."""
        self._files.max_bytes = self.max_bytes
        return self._files.read(image)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return a picture's label as JSON, or its mask's bytes; see `Source.sidecar`."""
        if kind == "camera":
            return image.sidecar["camera"].encode()
        name = image.sidecar.get("mask", "") if kind == "mask" else ""
        return self._files.read(self._listed()[name]) if name else None


class RigSource(Source):
    """Folders of photographs, one for each person: what a rig or several photographers took, with or without cameras."""

    def __init__(self, label: str, root: Path) -> None:
        """Open every folder in `root`; one with a transforms.json or a COLMAP model is a scene.

        Raises:
            SourceError: `root` has no folder in it, or a scene in it cannot be read.
        """
        self.label = label
        folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not folders:
            raise SourceError(f"expected a folder for each person in {str(root)!r}, it has none")
        self._parts = {folder.name: self._part(folder) for folder in folders}
        self._loose = FolderSource(label, str(root))

    def _part(self, folder: Path) -> Source:
        name = f"{self.label}/{folder.name}"
        if (folder / TRANSFORMS).is_file():
            return SceneSource(name, folder, NERFSTUDIO, name)
        if any((folder / place / "images.txt").is_file() for place in PLACES):
            return SceneSource(name, folder, COLMAP, name)
        return FolderSource(name, str(folder))

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every person's files; files beside the folders are refused."""
        for entry in self._loose.entries():
            if "/" not in entry.path:
                yield Refused(self.label, entry.path, "sidecar_mismatch", "it lies in no person's folder")
        for name, part in self._parts.items():
            key = f"{self.label}/{name}"
            for entry in part.entries():
                if isinstance(entry, Refused):
                    yield Refused(self.label, f"{name}/{entry.path}", entry.reason, entry.detail)
                    continue
                rights = dataclasses.replace(entry.rights, identity=key, group=f"rig {key}")
                yield dataclasses.replace(entry, source=self.label, path=f"{name}/{entry.path}", rights=rights)

    def _inner(self, image: SourceImage) -> tuple[Source, SourceImage]:
        name, _, path = image.path.partition("/")
        part = self._parts[name]
        part.max_bytes = self.max_bytes
        return part, dataclasses.replace(image, path=path)

    def read(self, image: SourceImage) -> bytes:
        """Return a picture's bytes; see `Source.read`."""
        part, inner = self._inner(image)
        return part.read(inner)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return what is known beside a picture; see `Source.sidecar`."""
        part, inner = self._inner(image)
        return part.sidecar(inner, kind)


def _plain(name: str) -> str:
    """Return a name in a scene without "./" and backslashes."""
    return posixpath.normpath(name.replace("\\", "/")) if name else ""


def _opened(label: str, path: Path) -> FolderSource | ZipSource:
    if path.is_dir():
        return FolderSource(label, str(path))
    if path.is_file():
        return ZipSource(label, str(path))
    raise SourceError(f"expected a folder or zip of a scene at {str(path)!r}, nothing is there")


def scene_opener(kind: str) -> Callable[[str], Source]:
    """Return what opens a scene from its text, such as `nerfstudio:PATH`."""

    def open_scene(text: str) -> Source:
        path = user_path(text.removeprefix(kind))
        if not text.removeprefix(kind):
            raise SourceError(f"expected {kind}PATH, got {text!r}")
        path = path.parent if path.name == TRANSFORMS else path
        return SceneSource(path.resolve().name, path, kind)

    return open_scene


def open_rig(text: str) -> Source:
    """Open `rig:DIR`.

    Raises:
        SourceError: it is no folder of folders.
    """
    path = user_path(text.removeprefix(RIG))
    if not text.removeprefix(RIG) or not path.is_dir():
        raise SourceError(f"expected rig:DIR, a folder with a folder for each person, got {text!r}")
    return RigSource(path.resolve().name, path)
