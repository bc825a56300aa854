"""Data sets of EG3D, PanoHead and SphereHead: aligned crops in a folder or zip, and a dataset.json with 25 numbers for each.

`eg3d:PATH` opens one, `eg3d:PATH,masks=PATH` with the masks that PanoHead keeps in a folder or zip of their own under the same
names. How folders and zips are read is `folder`'s and `zips`' business, whether a camera keeps to the contract is asked later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...manifests.config import brief, user_path
from ..sample import Drop, SourceImage
from ..sources.base import Refused, Source, SourceError
from ..sources.folder import FolderSource
from ..sources.outside_json import parse
from ..sources.sidecars import label_numbers
from ..sources.zips import ZipSource

SCHEME = "eg3d:"
LABELS = "dataset.json"
MASKS = ",masks="
"""What stands in a source's text between pictures and masks."""


class EG3DSource(Source):
    """The pictures that a dataset.json labels, each with its camera as OpenCV's cam2world and normalised intrinsics."""

    def __init__(self, label: str, path: Path, masks: Path | None = None) -> None:
        """Read from a folder or zip.

        Args:
            label: name in manifests.
            path: folder or zip with dataset.json at its top, or the dataset.json itself.
            masks: folder or zip of masks under the pictures' names, or None.

        Raises:
            SourceError: there is no dataset.json, or it labels nothing.
        """
        self.label = label
        self._pictures = _opened(label, path.parent if path.name == LABELS else path)
        self._masks = None if masks is None else _opened(label, masks)
        self._places: dict[str, SourceImage] | None = None
        self._table: dict[str, Any] | None = self._labels()

    def __getstate__(self) -> dict[str, Any]:
        """Travel to another process without the tables of labels and masks."""
        return {**self.__dict__, "_places": None, "_table": None}

    def _labels(self) -> dict[str, Any]:
        """Read name -> label.

        Raises:
            SourceError: it is missing or not of the form {"labels": [[name, [25 numbers]], ...]}.
        """
        file = next((entry for entry in _listed(self._pictures) if entry.path == LABELS), None)
        if file is None:
            raise SourceError(f"expected {LABELS} at the top of {self.label!r}: the labels of an EG3D data set; none is there")
        try:
            plain = parse(self._pictures.read(file))
        except (Drop, ValueError) as error:
            raise SourceError(f"cannot read {LABELS} of {self.label!r}: {error}") from error
        labels = plain.get("labels") if isinstance(plain, dict) else None
        if not isinstance(labels, list) or not labels:
            hint = "; its tool writes null where a single picture has no label" if labels is None else ""
            raise SourceError(f'{LABELS} of {self.label!r}: expected "labels": [[name, [25 numbers]], ...]{hint}')
        found: dict[str, Any] = {}
        for item in labels:
            if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str):
                raise SourceError(f"{LABELS} of {self.label!r}: expected [name, [25 numbers]], got {brief(item)}")
            name = item[0].replace("\\", "/")
            if name in found and found[name] != item[1]:
                raise SourceError(f"{LABELS} of {self.label!r}: {brief(name)} stands in it twice with other numbers")
            found[name] = item[1]
        return found

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every picture with its label; pictures without one and labels without a picture are refused."""
        labels, self._table = self._table or self._labels(), None  # read once for checking and the first pass
        left = dict.fromkeys(labels)
        for entry in self._pictures.entries():
            if isinstance(entry, Refused) or entry.path == LABELS:
                if isinstance(entry, Refused):
                    yield entry
                continue
            name = entry.path if entry.path in labels else Path(entry.path).name
            if name not in left:
                what = (
                    "its label was taken by another picture of this name" if name in labels else f"{LABELS} has no label of it"
                )
                yield Refused(self.label, entry.path, "sidecar_mismatch", what)
                continue
            del left[name]
            yield self._labelled(entry, labels[name])
        for name in left:
            yield Refused(self.label, name, "io_error", f"{LABELS} names it, and there is no such picture")

    def _labelled(self, entry: SourceImage, label: Any) -> SourceImage | Refused:
        try:
            camera = json.dumps(label_numbers(label))
        except ValueError as error:
            return Refused(self.label, entry.path, "camera_invalid", str(error))
        sidecar: Mapping[str, str] = {**entry.sidecar, "camera": camera, **self._mask_of(entry.path)}
        return SourceImage(self.label, entry.path, entry.num_bytes, entry.stamp, entry.rights, sidecar)

    def _mask_of(self, path: str) -> dict[str, str]:
        """Return where a picture's mask lies and what tells that it is still the same; nothing where there is none."""
        if self._masks is None:
            return {}
        if self._places is None:
            self._places = {entry.path: entry for entry in _listed(self._masks)}
        names = (path, f"{path.rpartition('.')[0]}.png")
        place = next((self._places[name] for name in names if name in self._places), None)
        return {} if place is None else {"mask": place.path, "mask_stamp": place.stamp}

    def read(self, image: SourceImage) -> bytes:
        """Return a picture's bytes; see `Source.read`."""
        self._pictures.max_bytes = self.max_bytes
        return self._pictures.read(image)

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return a picture's label as JSON, or its mask's bytes; see `Source.sidecar`."""
        if kind == "camera":
            return image.sidecar["camera"].encode()
        if kind != "mask" or self._masks is None:
            return None
        name = self._mask_of(image.path).get("mask")
        if name is None or self._places is None:
            raise Drop("sidecar_mismatch", f"no mask is named as {brief(image.path)}, nor so with the ending .png")
        return self._masks.read(self._places[name])


def _opened(label: str, path: Path) -> FolderSource | ZipSource:
    if path.is_dir():
        return FolderSource(label, str(path))
    if path.is_file():
        return ZipSource(label, str(path))
    raise SourceError(f"expected a folder or zip of an EG3D data set at {str(path)!r}, nothing is there")


def _listed(source: FolderSource | ZipSource) -> Iterator[SourceImage]:
    return (entry for entry in source.entries() if isinstance(entry, SourceImage))


def open_eg3d(text: str) -> Source:
    """Open `eg3d:PATH` or `eg3d:PATH,masks=PATH`.

    Raises:
        SourceError: it is no such data set.
    """
    pictures, found, masks = text.removeprefix(SCHEME).partition(MASKS)
    if not pictures or (found and not masks):
        raise SourceError(f"expected eg3d:PATH or eg3d:PATH,masks=PATH, got {text!r}")
    path = user_path(pictures)
    name = (path.parent if path.name == LABELS else path).resolve().name
    return EG3DSource(name, path, user_path(masks) if masks else None)
