"""The free assets that heads are made of: found in a folder, listed with name, licence and sha256, read once and kept.

What a file's numbers mean is `formats`' business; which assets a person wears is `population`'s. The folder is given, or
named by SPHEREHEAD_ASSETS, or lies in the user's cache. Meshes, morphs and proxies are converted to one .npz in the cache,
named by the content of the files it was made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Pixels
from ....manifests.config import user_cache, user_path
from .formats import AssetError, Material, Mesh, Proxy, Target, read_material, read_obj, read_proxy, read_target

FORMAT = 1
"""Version of the converted file."""
BASE = "3dobjs/base.obj"
LICENCE = "CC0-1.0"
LICENCE_URL = "https://creativecommons.org/publicdomain/zero/1.0/"
ATTRIBUTION = "MakeHuman Community"
SOURCE_URL = "https://github.com/makehumancommunity/makehuman"
INVENTORY = "inventory.json"
"""File that `fetch` leaves beside the assets; none of them."""
KINDS = ("hair", "eyebrows", "eyelashes", "eyes", "clothes")
"""Folders that hold proxies."""


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
        """Return a morph by its path below `targets`, without ending.

        Raises:
            AssetError: it is damaged or missing.
        """
        self._require("targets/" + name)
        start, stop = self._index["targets"][name]
        return Target(self._arrays["target_indices"][start:stop], self._arrays["target_offsets"][start:stop])

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
        material = Material(name, tuple(told["diffuse"]), told["texture"], "", told["transparent"])
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


def open_assets(root: Path | None = None) -> Assets:
    """Open a folder of assets, converting it on first use.

    Raises:
        AssetError: the folder or its base mesh is not there or damaged; other damage is told when an asset is asked for.
    """
    folder = user_path(str(root or default_folder())).resolve()
    return _open(folder, _stamp(folder))


def _stamp(folder: Path) -> str:
    """Return a hash of every file's name, size and time of change: cheap, and enough to know that nothing was touched."""
    if not (folder / BASE).is_file():
        raise AssetError(
            f"expected MakeHuman's data with {BASE} in {folder}, found none; "
            "set SPHEREHEAD_ASSETS to a folder that has it, or bring it into the cache: spherehead assets fetch makehuman "
            "(with --from DIR where a folder has it)"
        )
    told = hashlib.sha256()
    for path in _files(folder):
        status = path.stat()
        told.update(f"{path.relative_to(folder).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return told.hexdigest()


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path != folder / INVENTORY)


@lru_cache(maxsize=4)
def _open(folder: Path, stamp: str) -> Assets:
    place = cache_folder() / f"converted-{FORMAT}-{hashlib.sha256(f'{folder}{stamp}'.encode()).hexdigest()[:24]}.npz"
    if place.is_file():
        with np.load(place, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return Assets(folder, arrays, json.loads(bytes(arrays.pop("index"))))
    arrays, index = _convert(folder)
    _keep(place, {**arrays, "index": np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)})
    return Assets(folder, arrays, index)


def _keep(place: Path, arrays: dict[str, Array]) -> None:
    """Write the converted file aside and rename it; a cache that cannot be written only costs time."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, suffix=".part", delete=False) as part:
            np.savez(part, **arrays)  # type: ignore[arg-type]
            part.flush()
            os.fsync(part.fileno())
        Path(part.name).replace(place)
    except OSError:
        return


def _convert(folder: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read every file, and note what is damaged."""
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(folder)}
    fingerprint = hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in files.items()).encode()).hexdigest()
    base = read_obj(folder / BASE)
    arrays = _mesh_arrays(base, "base/")
    index: dict[str, Any] = {
        "fingerprint": fingerprint, "files": files, "groups": base.group_names, "problems": {}, "pieces": {}, "targets": {},
        "names": {"skins": [name for name in files if name.startswith("skins/") and name.endswith(".png")]},
    }  # fmt: skip
    _convert_targets(folder, len(base.vertices), arrays, index)
    for kind in KINDS:
        index["names"][kind] = [name[:-6] for name in files if name.startswith(kind + "/") and name.endswith(".mhclo")]
        for name in index["names"][kind]:
            try:
                arrays_of, told = _convert_piece(folder, name, len(base.vertices))
            except AssetError as error:
                index["problems"][name] = str(error)
                continue
            arrays.update(arrays_of)
            index["pieces"][name] = told
    return arrays, index


def _convert_targets(folder: Path, num_vertices: int, arrays: dict[str, Array], index: dict[str, Any]) -> None:
    names = [name[8:-7] for name in index["files"] if name.startswith("targets/") and name.endswith(".target")]
    index["names"]["targets"] = names
    parts: list[Target] = []
    start = 0
    for name in names:
        try:
            target = read_target(folder / "targets" / f"{name}.target", num_vertices)
        except AssetError as error:
            index["problems"]["targets/" + name] = str(error)
            continue
        parts.append(target)
        index["targets"][name] = (start, start := start + len(target.indices))
    none = Target(np.zeros(0, np.int32), np.zeros((0, 3)))
    arrays["target_indices"] = np.concatenate([part.indices for part in parts or [none]])
    arrays["target_offsets"] = np.concatenate([part.offsets for part in parts or [none]]).astype(np.float32)


def _convert_piece(folder: Path, name: str, num_vertices: int) -> tuple[dict[str, Array], dict[str, Any]]:
    path = folder / f"{name}.mhclo"
    proxy = read_proxy(path, num_vertices)
    mesh = read_obj(path.parent / proxy.mesh_file)
    if len(mesh.vertices) != len(proxy.anchors):
        raise AssetError(f"{path}: hangs {len(proxy.anchors)} vertices, but {proxy.mesh_file} has {len(mesh.vertices)}")
    material = _material(path, proxy.material_file)
    texture = f"{Path(name).parent.as_posix()}/{material.diffuse_texture}" if material.diffuse_texture else ""
    if texture and not (folder / texture).is_file():
        raise AssetError(f"{folder / texture}: expected the texture that {path.name} is painted with, found none")
    arrays = _mesh_arrays(mesh, f"{name}/")
    for key in ("anchors", "weights", "offsets", "hidden"):
        arrays[f"{name}/{key}"] = getattr(proxy, key)
    told = {
        "scales": proxy.scales, "mesh": proxy.mesh_file, "texture": texture, "diffuse": material.diffuse,
        "transparent": material.transparent,
    }  # fmt: skip
    return arrays, told


def _material(path: Path, named: str) -> Material:
    """Read the material that a .mhclo names, or the one of that name beside it; a plain one where there is neither."""
    for place in (path.parent / named, path.parent / Path(named).name):
        if named and place.is_file():
            return read_material(place)
    return Material("plain")


def _mesh_arrays(mesh: Mesh, prefix: str) -> dict[str, Array]:
    return {prefix + key: getattr(mesh, key) for key in ("vertices", "faces", "uvs", "face_uvs", "groups")}


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
