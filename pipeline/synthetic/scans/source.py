"""A folder of head scans as a source of a build: every scan seen from all around, with exact camera and mask.

Named on the command line as `mesh:FOLDER,views=8,seed=1`. A scan needs a sidecar with four landmarks (`mesh_head`); it is
rendered with the lights, cameras and backgrounds of `source`, where it is read, in the worker.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.camera import Camera
from ....datasets.sample import Drop, SourceImage
from ....datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from ....datasets.sources.base import Refused, Source, SourceError
from ....datasets.sources.folder import file_stamp
from ....datasets.sources.names import is_hidden
from ....manifests.config import ConfigError, canonical_json, from_plain, to_plain, user_path
from ....manifests.identity import rng
from ....manifests.store import file_sha256
from ..assets.formats import AssetError
from ..named_values import named_values
from ..people.settings import GROWTH_VERSION, WEAR_VERSION
from ..rendering.denoise import denoise
from ..rendering.exact_pass import Drawing, View, look
from ..rendering.exposure import develop, expose, window_of
from ..rendering.light import KINDS, draw_background, draw_light
from ..rendering.render import CHOICES, ON_GPU, RenderError, Studio, renderer, resolve
from ..source import person_id
from . import dressing
from .mesh_head import MeshHead, Sidecar, build_head, place_landmarks, read_sidecar, sidecar_of
from .meshes import SUFFIXES, MeshLimits, companions

SCHEME = "mesh:"
SCANNED, GROWN = "scan", "grown"
VERSION = 3
"""Raise it when the same settings would give other pictures."""


@dataclass(frozen=True)
class MeshSettings:
    """What is rendered, as told after `mesh:`."""

    folder: str
    """Folder with .glb, .obj and .ply files, each with a sidecar; folders in it are looked through too."""
    views: int = 8
    """Pictures of each head."""
    seed: int = 0
    """Seed of light and cameras."""
    size: int = 512
    """Side of the pictures in pixels."""
    samples: int = 32
    """Samples per pixel (spp)."""
    yaw_degrees: float = 180.0
    """How far cameras go to each side: 180 is all around; less for scans without a back."""
    pitch_degrees: float = 12.0
    """Standard deviation of the cameras' elevation."""
    roll_degrees: float = 3.0
    """Standard deviation of the cameras' roll."""
    background: str = ""
    """plain, gradient, blurred or cluttered; empty for all kinds."""
    variant: str = "scalar_rgb"
    """Mitsuba's variant; auto takes the fastest that runs here, and gives other noise than scalar_rgb."""
    max_residual: float = 0.04
    """World units (an eye's breadth is about 0.07) by which landmarks may miss their places, root mean square."""
    limits: MeshLimits = MeshLimits()
    """What a scan may be."""
    hair: str = SCANNED
    """scan: heads as they are; grown: with hair and head-wear on those whose sidecar says that they are bald."""

    def __post_init__(self) -> None:
        if self.views < 1 or self.samples < 1 or not 64 <= self.size <= 2048 or not 0 < self.yaw_degrees <= 180:
            raise ConfigError("mesh: expected views and samples of 1 or more, size 64 to 2048, yaw_degrees over 0 to 180")
        for name in ("pitch_degrees", "roll_degrees"):
            if getattr(self, name) < 0.0:
                raise ConfigError(f"mesh: expected {name} of 0 or more, got {getattr(self, name)}")
        if self.variant not in CHOICES:
            raise ConfigError(f"mesh: expected a variant of {', '.join(CHOICES)}, got {self.variant!r}")
        if self.hair not in (SCANNED, GROWN):
            raise ConfigError(f"mesh: expected hair of {SCANNED} or {GROWN}, got {self.hair!r}")
        if self.background and self.background not in KINDS:
            raise ConfigError(f"mesh: expected a background of {', '.join(KINDS)}, got {self.background!r}")


def parse(text: str) -> MeshSettings:
    """Read `mesh:FOLDER,views=8,limits.max_faces=200000`.

    Raises:
        ConfigError: no folder, an unknown setting (with a suggestion), or a value that does not fit.
    """
    folder, *settings = re.split(r",(?=[a-z_.]+=)", text.removeprefix(SCHEME), maxsplit=1)
    if not folder or re.match(r"[a-z_.]+=", folder):
        raise ConfigError(f"{text}: expected a folder first, as in mesh:FOLDER,views=8")
    plain = named_values(SCHEME + ",".join(settings))
    if "folder" in plain:
        raise ConfigError(f"{text}: the folder is given twice; name it once, as in mesh:FOLDER,views=8")
    return from_plain(MeshSettings, {"folder": folder, **plain}, "mesh")


class MeshSource(Source):
    """Scans in a folder, each seen from all around."""

    def __init__(self, text: str) -> None:
        """Prepare to render what a text asks for; folder and Mitsuba are looked for now, so that a build fails early.

        Raises:
            ConfigError: the settings are wrong.
            SourceError: there is no scan, or no Mitsuba.
        """
        self.settings = parse(text)
        self.root = user_path(self.settings.folder).resolve()
        self.label = self.root.name or "mesh"
        if not self.root.is_dir() or not self._meshes():
            raise SourceError(f"{text}: expected a folder with {', '.join(SUFFIXES)} files, found none in {self.root}")
        try:
            self.settings = dataclasses.replace(self.settings, variant=resolve(self.settings.variant))
            self._renderer = renderer(self.settings.variant)
        except RenderError as error:
            raise SourceError(str(error)) from error
        self.uses_gpu = self.settings.variant in ON_GPU
        told = {key: value for key, value in to_plain(self.settings).items() if key not in ("folder", "hair")}
        grown = [dressing.VERSION, GROWTH_VERSION, WEAR_VERSION] * (self.settings.hair == GROWN)
        self._stamp = canonical_json([VERSION, told, self._renderer, *grown])

    def _meshes(self) -> list[Path]:
        found = (path for path in self.root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        return sorted(path for path in found if not any(is_hidden(part) for part in path.relative_to(self.root).parts))

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every view of every scan, in the order of paths; a scan whose sidecar is no good is refused once."""
        for mesh in self._meshes():
            name = mesh.relative_to(self.root).as_posix()
            try:
                sidecar, key = read_sidecar(sidecar_of(mesh)), file_sha256(mesh)
                residual = place_landmarks(sidecar, self.settings.max_residual)[1]
            except (AssetError, OSError) as error:
                yield Refused(self.label, name, "bad_asset", self._worded(error))
                continue
            identity = sidecar.rights.identity or f"mesh-{key[:16]}"
            stamp = hashlib.sha256(f"{self._stamp}{_stamp(mesh, sidecar)}".encode()).hexdigest()[:32]
            for view in range(self.settings.views):
                made = {"step": "mesh", "version": VERSION, "seed": self.settings.seed, "mesh": key, "view": view,
                        "samples": self.settings.samples, "residual": round(residual, 4)}  # fmt: skip
                made |= {"hair": dressing.VERSION} if sidecar.bald and self.settings.hair == GROWN else {}
                beside = {kind: kind for kind in ("camera", "mask", *(["parsing"] if sidecar.classes else []))}
                beside |= {"id": person_id(identity), "derivation": canonical_json(made), "renderer": self._renderer}
                yield SourceImage(self.label, f"{name}/{view:03d}.png", 0, stamp, sidecar.rights, beside)

    def read(self, image: SourceImage) -> bytes:
        """Render one view and return it as PNG."""
        return self._members(image)["picture"]

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the exact camera and mask of a view, and its class map where the scan has classes."""
        if kind == "id":
            return image.sidecar["id"].encode()
        return self._members(image).get(kind)

    def _members(self, image: SourceImage) -> dict[str, bytes]:
        name, _, view = image.path.rpartition("/")
        try:
            return _render(self.settings, str(self.root / name), image.stamp, int(view.removesuffix(".png")))
        except AssetError as error:
            raise Drop("bad_asset", self._worded(error)) from error
        except RenderError as error:
            raise Drop("render_failed", str(error)) from error

    def _worded(self, error: Exception) -> str:
        """Return an error's text with paths as they are in the folder, so that manifests are the same on every machine."""
        return str(error).replace(f"{self.root}/", "")


def _stamp(mesh: Path, sidecar: Sidecar) -> str:
    """Return what tells that nothing a scan is made of has changed."""
    classes = [mesh.parent / sidecar.classes] if sidecar.classes else []
    paths = [mesh, sidecar.path, *classes, *companions(mesh)]
    return "".join(f"{path.name}\0{file_stamp(path.stat()) if path.is_file() else ''}\n" for path in paths)


def camera_of(settings: MeshSettings, key: str, view: int) -> Camera:
    """Return the camera of a view: evenly spaced azimuths from a random start, with jitter in all three angles."""
    start = float(rng(settings.seed, key, "start").random())
    random = rng(settings.seed, key, f"camera-{view}")
    share = (view + start + float(random.uniform(-0.25, 0.25))) / settings.views
    yaw = math.radians(settings.yaw_degrees) * math.remainder(2.0 * share, 2.0)
    pitch = float(np.clip(random.normal(0.03, math.radians(settings.pitch_degrees)), math.radians(-35), math.radians(50)))
    return Camera.look_at(yaw, pitch, float(random.normal(0.0, math.radians(settings.roll_degrees))))


@dataclass(frozen=True, eq=False)
class _Ready:
    """A scan whose views can be rendered."""

    key: str
    """sha256 of the mesh file: what light and cameras are drawn by."""
    head: MeshHead
    studio: Studio
    drawing: Drawing


@lru_cache(maxsize=2)
def _ready(settings: MeshSettings, path: str, stamp: str) -> _Ready | str:
    """Keep the last scans of this process ready for their other views; a bad one is remembered by its error."""
    mesh = Path(path)
    try:
        sidecar, key = read_sidecar(sidecar_of(mesh)), file_sha256(mesh)
        head = build_head(mesh, sidecar, settings.limits, settings.max_residual)
    except AssetError as error:
        return str(error)
    if sidecar.bald and settings.hair == GROWN:
        head = dressing.dressed(head, settings.seed, key)
    return _Ready(key, head, Studio(head, settings.variant), Drawing(head))


@lru_cache(maxsize=2)
def _render(settings: MeshSettings, path: str, stamp: str, view: int) -> dict[str, bytes]:
    """Return the files of a view; a picture is asked for several times in a row."""
    ready = _ready(settings, path, stamp)
    if isinstance(ready, str):
        raise AssetError(ready)
    camera = camera_of(settings, ready.key, view)
    light = draw_light(rng(settings.seed, ready.key, f"light-{view}"))
    background = draw_background(rng(settings.seed, ready.key, f"background-{view}"), settings.size, settings.background)
    seen: View = look(ready.drawing, camera, settings.size, with_albedo=True)
    seed = int(rng(settings.seed, ready.key, f"sampler-{view}").integers(1 << 31))
    picture = ready.studio.photograph(camera, light, settings.size, settings.samples, seed, window_of(seen.mask))
    exposed = denoise(expose(picture, camera, light), seen, math.sqrt(16.0 / settings.samples))
    found: dict[str, Any] = {
        "picture": encode_image(develop(exposed, background), Encoding("png")),
        "mask": encode_grey(seen.mask),
        "camera": camera_json(camera),
    }
    return found | ({"parsing": encode_grey(seen.parsing)} if ready.head.has_classes else {})
