"""From a folder of MakeHuman's files to arrays: read whole once, and kept in one .npz named by the content it was made from.

What the files hold is `formats`' business, what is done with the arrays `library`'s.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from .formats import AssetError, Material, Mesh, Target, read_material, read_obj, read_proxy, read_target

FORMAT = 1
"""Version of the converted file."""
BASE = "3dobjs/base.obj"
INVENTORY = "inventory.json"
"""File that `fetch` leaves beside the assets; none of them."""
KINDS = ("hair", "eyebrows", "eyelashes", "eyes", "clothes")
"""Folders that hold proxies."""
Converted = tuple[dict[str, Array], dict[str, Any]]
"""Arrays by name, and an index of plain values."""


def stamp_of(folder: Path) -> str:
    """Return a hash of every file's name, size and time of change: cheap, and enough to know that nothing was touched."""
    told = hashlib.sha256()
    for path in _files(folder):
        status = path.stat()
        told.update(f"{path.relative_to(folder).as_posix()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return told.hexdigest()


def _files(folder: Path) -> list[Path]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in found if path != folder / INVENTORY)


def stored(cache: Path, folder: Path, stamp: str, convert: Callable[[], Converted]) -> Converted:
    """Return what a folder was converted to, from the cache where it holds that."""
    place = cache / f"converted-{FORMAT}-{hashlib.sha256(f'{folder}{stamp}'.encode()).hexdigest()[:24]}.npz"
    if place.is_file():
        with np.load(place, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return arrays, json.loads(bytes(arrays.pop("index")))
    arrays, index = convert()
    _keep(place, {**arrays, "index": np.frombuffer(json.dumps(index).encode(), dtype=np.uint8)})
    return arrays, index


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


def _read(folder: Path) -> tuple[dict[str, str], str]:
    """Return the sha256 of every file, and one over all."""
    files = {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(folder)}
    return files, hashlib.sha256("".join(f"{name}\0{digest}\n" for name, digest in files.items()).encode()).hexdigest()


def convert_morphs(folder: Path, num_vertices: int) -> Converted:
    """Read the further morphs of a base mesh, and note what is damaged."""
    files, fingerprint = _read(folder)
    arrays, index = dict[str, Array](), {"fingerprint": fingerprint, "files": files, "problems": {}, "targets": {}, "names": {}}
    _convert_targets(folder, num_vertices, arrays, index)
    return arrays, index


def convert_assets(folder: Path) -> Converted:
    """Read every file, and note what is damaged."""
    files, fingerprint = _read(folder)
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
