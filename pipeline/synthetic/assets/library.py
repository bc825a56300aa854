"""The free assets that heads are made of: found in a folder, listed with name, licence and sha256, read once and kept.

What a file's numbers mean is `formats`' business; which assets a person wears is `population`'s. The folder is given, or
named by SPHEREHEAD_ASSETS, or lies in the user's cache. Meshes, morphs and proxies are converted to one .npz in the cache,
named by the content of the files it was made from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....manifests.config import user_cache, user_path
from .conversion import BASE, convert_assets, convert_morphs, stamp_of, stored
from .formats import AssetError, Material, Mesh, Proxy, Target

MORE_MORPHS = ("faceunits/", "macrodetails/universal-")
"""Beginnings of morphs that `fetch` keeps apart from the other assets, and that only some settings of people need."""
LICENCE = "CC0-1.0"
LICENCE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
ATTRIBUTION = "MakeHuman Community"
SOURCE_URL = "https://github.com/makehumancommunity/makehuman"


@dataclass(frozen=True, eq=False)
class Piece:
    """A proxy with its mesh and the picture that it is painted with."""

    name: str
    """Path of the .mhclo below the folder, without ending: the asset's name in manifests."""
    proxy: Proxy
    mesh: Mesh
    material: Material
    texture: str
    """Path of the diffuse picture below the folder; empty where there is none."""


def default_folder() -> Path:
    """Return where assets are looked for: $SPHEREHEAD_ASSETS, else the user's cache folder."""
    chosen = os.environ.get("SPHEREHEAD_ASSETS")
    return user_path(chosen) if chosen else cache_folder() / "makehuman"


def cache_folder() -> Path:
    """Return the user's cache folder for assets."""
    return user_cache() / "spherehead" / "assets"


def morphs_folder() -> Path:
    """Return where the further morphs are."""
    return cache_folder() / "morphs"


class Assets:
    """A folder of MakeHuman's data, converted."""

    def __init__(self, root: Path, arrays: Mapping[str, Array], index: Mapping[str, Any]) -> None:
        """Wrap what `open_assets` read."""
        self.root = root
        self._arrays, self._index = arrays, index
        self.fingerprint: str = index["fingerprint"]
        """64 hex digits over every file's name and content."""
        self.base = _mesh(arrays, "base/", index["groups"])

    @property
    def problems(self) -> Mapping[str, str]:
        """Asset name -> what is wrong with it."""
        problems: Mapping[str, str] = self._index["problems"]
        return problems

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of the pieces in a folder such as "hair", or of the "targets" or "skins"; damaged ones included."""
        return tuple(self._index["names"].get(kind, ()))

    def files(self, beginning: str) -> tuple[str, ...]:
        """Return the pictures whose path below the folder begins so, in order."""
        return tuple(name for name in sorted(self._index["files"]) if name.startswith(beginning) and name.endswith(".png"))

    def sha256(self, path: str) -> str:
        """Return the digest of a file below the folder."""
        digest: str = self._index["files"][path]
        return digest

    def target(self, name: str) -> Target:
        """Return a morph by its path below `targets`, without ending; those of `MORE_MORPHS` from where they are kept.

        Raises:
            AssetError: it is damaged or missing.
        """
        if name.startswith(MORE_MORPHS):
            return self.morphs.target(name)
        self._require("targets/" + name)
        start, stop = self._index["targets"][name]
        return Target(self._arrays["target_indices"][start:stop], self._arrays["target_offsets"][start:stop])

    @cached_property
    def morphs(self) -> Morphs:
        """The further morphs.

        Raises:
            AssetError: they were not fetched.
        """
        return open_morphs(len(self.base.vertices))

    def piece(self, name: str) -> Piece:
        """Return a proxy by name, such as "hair/short01/short01".

        Raises:
            AssetError: it, its mesh or its material is damaged or missing.
        """
        self._require(name)
        told = self._index["pieces"][name]
        array = {key: self._arrays[f"{name}/{key}"] for key in ("anchors", "weights", "offsets", "hidden")}
        scales = tuple((int(a), int(b), float(d)) for a, b, d in told["scales"])
        proxy = Proxy(
            name, array["anchors"], array["weights"], array["offsets"], scales, told["mesh"], "", array["hidden"],
        )  # fmt: skip
        material = Material(name, tuple(told["diffuse"]), told["texture"], told["transparent"])
        return Piece(name, proxy, _mesh(self._arrays, f"{name}/", [""]), material, told["texture"])

    def picture(self, path: str) -> Pixels:
        """Return a texture as (H, W, 4) uint8 sRGB with alpha; read-only.

        Raises:
            AssetError: it is missing or no picture.
        """
        return _picture(self.root / path, self._index["files"].get(path, ""))

    def _require(self, name: str) -> None:
        if name in self.problems:
            raise AssetError(self.problems[name])
        if name not in self._index["pieces"] and name.removeprefix("targets/") not in self._index["targets"]:
            raise AssetError(f"{self.root / name}: no such asset")


class Morphs:
    """The further morphs that `assets fetch morphs` brings, converted."""

    def __init__(self, root: Path, arrays: Mapping[str, Array], index: Mapping[str, Any]) -> None:
        """Wrap what `open_morphs` read."""
        self.root = root
        self._arrays, self._index = arrays, index
        self.fingerprint: str = index["fingerprint"]
        """64 hex digits over every file's name and content."""

    def target(self, name: str) -> Target:
        """Return a morph by its path below `targets`, without ending.

        Raises:
            AssetError: it is damaged or missing.
        """
        if name not in self._index["targets"]:
            raise AssetError(self._index["problems"].get("targets/" + name, f"{self.root / name}: no such morph"))
        start, stop = self._index["targets"][name]
        return Target(self._arrays["target_indices"][start:stop], self._arrays["target_offsets"][start:stop])


def open_morphs(num_vertices: int) -> Morphs:
    """Open the further morphs in the user's cache, converting them on first use.

    Args:
        num_vertices: of the base mesh.

    Raises:
        AssetError: they were not fetched.
    """
    folder = morphs_folder()
    if not (folder / "targets").is_dir():
        raise AssetError(f"expected MakeHuman's further morphs in {folder}, found none; run spherehead assets fetch morphs")
    return _open_morphs(folder, stamp_of(folder), num_vertices)


@lru_cache(maxsize=2)
def _open_morphs(folder: Path, stamp: str, num_vertices: int) -> Morphs:
    return Morphs(folder, *stored(cache_folder(), folder, stamp, lambda: convert_morphs(folder, num_vertices)))


def open_assets(root: Path | None = None) -> Assets:
    """Open a folder of assets, converting it on first use.

    Raises:
        AssetError: the folder or its base mesh is not there or damaged; other damage is told when an asset is asked for.
    """
    folder = user_path(str(root or default_folder())).resolve()
    if not (folder / BASE).is_file():
        raise AssetError(
            f"expected MakeHuman's data with {BASE} in {folder}, found none; "
            "set SPHEREHEAD_ASSETS to a folder that has it, or bring it into the cache: spherehead assets fetch makehuman "
            "(with --from DIR where a folder has it)"
        )
    return _open(folder, stamp_of(folder))


@lru_cache(maxsize=4)
def _open(folder: Path, stamp: str) -> Assets:
    return Assets(folder, *stored(cache_folder(), folder, stamp, lambda: convert_assets(folder)))


def _mesh(arrays: Mapping[str, Array], prefix: str, groups: Any) -> Mesh:
    vertices, faces, uvs, face_uvs, numbers = (
        arrays[prefix + key] for key in ("vertices", "faces", "uvs", "face_uvs", "groups")
    )
    return Mesh(vertices, faces, uvs, face_uvs, numbers, tuple(groups))


@lru_cache(maxsize=64)
def _picture(path: Path, digest: str) -> Pixels:
    """Decode a texture; `digest` stands in the arguments so that a changed file is read again."""
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror or error}") from error
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if decoded is None or decoded.dtype != np.uint8 or decoded.ndim != 3:
        raise AssetError(f"{path}: expected an 8-bit colour picture, got {len(data)} bytes that are none")
    order = [2, 1, 0, 3] if decoded.shape[2] == 4 else [2, 1, 0]
    picture = np.asarray(decoded[..., order], dtype=np.uint8)
    if picture.shape[2] == 3:
        picture = np.dstack([picture, np.full(picture.shape[:2], 255, dtype=np.uint8)])
    picture = np.ascontiguousarray(picture)
    picture.setflags(write=False)
    return picture
