"""A textured head as one binary glTF 2.0 file (GLB): metres, y up, unlit, with the classes as an attribute and a variant.

Geometry is in metres as the format demands. The picture's light is in the texture, so materials are unlit
(KHR_materials_unlit); where there are classes, a viewer can switch to them (KHR_materials_variants), and every vertex has its
class id in the attribute `_CLASS`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...datasets.arrays import Array
from ...datasets.classes import CLASSES, colourise
from ...datasets.report.tiles import png
from .mesh import METRE, Mesh
from .texture import Texture
from .unwrap import Atlas

_MAGIC, _JSON, _BINARY = b"glTF", 0x4E4F534A, 0x004E4942
_FLOAT, _UINT32, _ARRAY, _ELEMENTS = 5126, 5125, 34962, 34963
_LINEAR, _MIPMAPS, _NEAREST, _CLAMP = 9729, 9987, 9728, 33071


class _Buffer:
    """The binary chunk as it grows: views of it, and accessors on these."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def view(self, data: bytes, target: int | None = None) -> int:
        """Append bytes, aligned to four, and return the index of their view."""
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data)})
        if target is not None:
            self.views[-1]["target"] = target
        self.data += data + b"\0" * (-len(data) % 4)
        return len(self.views) - 1

    def accessor(self, values: Array, kind: str, target: int, bounds: bool = False) -> int:
        """Append an array of 32-bit numbers and return the index of its accessor."""
        entry = {
            "bufferView": self.view(np.ascontiguousarray(values).tobytes(), target),
            "componentType": _UINT32 if values.dtype == np.uint32 else _FLOAT,
            "count": values.size if kind == "SCALAR" else len(values),
            "type": kind,
        }
        if bounds:
            entry |= {"min": values.min(axis=0).tolist(), "max": values.max(axis=0).tolist()}
        self.accessors.append(entry)
        return len(self.accessors) - 1


def glb(mesh: Mesh, atlas: Atlas, texture: Texture, classes: Array | None, extras: Mapping[str, Any]) -> bytes:
    """Return a head as a GLB file.

    Args:
        mesh: the surface, in the head frame.
        atlas: its unwrapping; vertices on seams are written once for each place that they have.
        texture: its colours and, with `classes`, its class map.
        classes: (V,) class id of every vertex, or None.
        extras: further facts, kept under the asset's `extras`.
    """
    buffer = _Buffer()
    normals = mesh.normals()[atlas.vertices].astype(np.float32)
    attributes = {
        "POSITION": buffer.accessor((mesh.vertices[atlas.vertices] / METRE).astype(np.float32), "VEC3", _ARRAY, bounds=True),
        "NORMAL": buffer.accessor(normals, "VEC3", _ARRAY),
        "TEXCOORD_0": buffer.accessor(atlas.uv.astype(np.float32), "VEC2", _ARRAY),
    }
    images, names = [texture.colours], ["colour"]
    if classes is not None and texture.classes is not None:
        attributes["_CLASS"] = buffer.accessor(classes[atlas.vertices].astype(np.float32), "SCALAR", _ARRAY)
        images.append(colourise(texture.classes))
        names.append("classes")
    indices = buffer.accessor(atlas.faces.astype(np.uint32).ravel(), "SCALAR", _ELEMENTS)
    primitive: dict[str, Any] = {"attributes": attributes, "indices": indices, "material": 0}
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "spherehead-toolkit", "extras": {"world_units_per_metre": METRE, **extras}},
        "scene": 0,
        "scenes": [{"name": "head", "nodes": [0]}],
        "nodes": [{"name": "head", "mesh": 0}],
        "meshes": [{"name": "head", "primitives": [primitive]}],
        "materials": [_material(name, index) for index, name in enumerate(names)],
        "textures": [{"source": index, "sampler": index} for index in range(len(names))],
        "samplers": [_sampler(_LINEAR, _MIPMAPS), _sampler(_NEAREST, _NEAREST)][: len(names)],
        "images": [
            {"name": name, "mimeType": "image/png", "bufferView": buffer.view(png(picture))}
            for name, picture in zip(names, images, strict=True)
        ],
        "extensionsUsed": ["KHR_materials_unlit"],
    }
    if len(names) > 1:
        document["extensionsUsed"].append("KHR_materials_variants")
        document["extensions"] = {"KHR_materials_variants": {"variants": [{"name": name} for name in names]}}
        mappings = [{"material": index, "variants": [index]} for index in range(len(names))]
        primitive["extensions"] = {"KHR_materials_variants": {"mappings": mappings}}
        document["meshes"][0]["extras"] = {"classes": list(CLASSES)}
    document |= {"bufferViews": buffer.views, "accessors": buffer.accessors, "buffers": [{"byteLength": len(buffer.data)}]}
    return _container(document, bytes(buffer.data))


def _material(name: str, texture: int) -> dict[str, Any]:
    surface = {"baseColorTexture": {"index": texture}, "metallicFactor": 0.0, "roughnessFactor": 1.0}
    return {"name": name, "pbrMetallicRoughness": surface, "extensions": {"KHR_materials_unlit": {}}}


def _sampler(enlarged: int, reduced: int) -> dict[str, int]:
    return {"magFilter": enlarged, "minFilter": reduced, "wrapS": _CLAMP, "wrapT": _CLAMP}


def _container(document: Mapping[str, Any], binary: bytes) -> bytes:
    """Put JSON and binary chunk into the container: header, then each chunk aligned to four bytes."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(binary), _BINARY) + binary
    return _MAGIC + struct.pack("<II", 2, 12 + len(chunks)) + chunks


def read_glb(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a GLB file apart into its JSON and its binary chunk; for checks of what was written.

    Raises:
        ValueError: it is none.
    """
    magic, version, length = struct.unpack_from("<4sII", data)
    if magic != _MAGIC or version != 2 or length != len(data):
        raise ValueError(f"expected a glTF 2.0 binary of {len(data)} bytes, got {magic!r}, version {version}, {length} bytes")
    size, kind = struct.unpack_from("<II", data, 12)
    rest, after = struct.unpack_from("<II", data, 20 + size)
    if kind != _JSON or after != _BINARY:
        raise ValueError("expected a JSON chunk and then a binary one")
    return json.loads(data[20 : 20 + size]), data[28 + size : 28 + size + rest]
