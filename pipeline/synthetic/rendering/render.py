"""Believable pictures of a figure with Mitsuba 3: materials, light and camera.

The only module that imports mitsuba. Labels come from `exact_pass`, the lamps from `light`; what a camera makes of the light is
`exposure`'s. One process renders with one variant: scalar_rgb works everywhere; llvm_ad_rgb is faster where a probe in a
process of its own succeeded.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ....datasets.arrays import Array
from ....datasets.camera import Camera
from ....datasets.images.colour_space import srgb_to_linear
from ..assets.formats import AssetError
from ..hair.strands import StrandSet, lay_end_to_end
from ..people.parts import Drawable, Part
from .curves import curves_of
from .exposure import Window
from .light import FINE, Light, all_round, sky_directions

log = logging.getLogger(__name__)

VARIANTS = ("scalar_rgb", "llvm_ad_rgb", "cuda_ad_rgb")
"""From the one that runs everywhere to the fastest. Each gives the same bytes every time (not tried with CUDA), and other bytes
than the others."""
ON_GPU = ("cuda_ad_rgb",)
"""Those that take a GPU."""
AUTO = "auto"
"""Choice of the fastest variant that runs here; `resolve` says which that is."""
CHOICES = (AUTO, *VARIANTS)
PASSES = (4, 16)
"""Samples a pixel that compiled variants take at once, of few and of many: all of a pixel's are summed in one order then.

With 30 at once six renderings of one picture at 512 px were six different files (llvm_ad_rgb, two threads).
"""
MAX_DEPTH = 9
"""Longest light path: sheets of hair count each time they are passed."""
_PROBE = """
import mitsuba as mi
mi.set_variant({variant!r})
scene = mi.load_dict({{"type": "scene", "light": {{"type": "constant"}}, "ball": {{"type": "sphere"}},
    "integrator": {{"type": "path"}}, "sensor": {{"type": "perspective",
    "to_world": mi.ScalarTransform4f().look_at([0, 0, 5], [0, 0, 0], [0, 1, 0]),
    "film": {{"type": "hdrfilm", "width": 8, "height": 8}}}}}})
import numpy as np
assert np.isfinite(np.array(mi.render(scene, spp=2))).all()
"""


class RenderError(RuntimeError):
    """Rendering is not possible on this machine; the message says what to do."""


@cache
def mitsuba(variant: str = "scalar_rgb") -> Any:
    """Return mitsuba with a variant set; the first call of a process decides.

    Raises:
        RenderError: it is not installed, or the variant does not run here.
    """
    try:
        import mitsuba as mi
    except ImportError as error:
        raise RenderError("Mitsuba is not installed; pip install 'spherehead-toolkit[synthetic]'") from error
    if mi.variant() not in (None, variant):
        raise RenderError(f"this process renders with {mi.variant()} already; start another one for {variant}")
    if variant != "scalar_rgb" and not usable(variant):
        raise RenderError(f"{variant} does not run on this machine; use scalar_rgb")
    mi.set_variant(variant)
    mi.set_log_level(mi.LogLevel.Warn)
    return mi


@cache
def usable(variant: str) -> bool:
    """Tell whether a variant runs here, tried in a process of its own: a wrong LLVM aborts instead of raising."""
    if variant not in VARIANTS:
        return False
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE.format(variant=variant)], capture_output=True, timeout=120, env=dict(os.environ)
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def resolve(choice: str) -> str:
    """Return the variant that a choice means on this machine; what is recorded and hashed is this, never "auto".

    A process that renders already stays with its variant.
    """
    if choice != AUTO:
        return choice
    running = _running()
    return running or next((variant for variant in reversed(VARIANTS[1:]) if usable(variant)), VARIANTS[0])


def _running() -> str:
    """Return the variant that this process renders with, empty where it has none yet."""
    try:
        import mitsuba as mi
    except ImportError as error:
        raise RenderError("Mitsuba is not installed; pip install 'spherehead-toolkit[synthetic]'") from error
    return mi.variant() or ""


def renderer(variant: str) -> str:
    """Return the renderer's name and version for manifests, such as "mitsuba 3.9.1 scalar_rgb"."""
    few, many = PASSES
    passes = "" if variant == VARIANTS[0] else f" in passes of {few} or {many}"
    return f"mitsuba {mitsuba(variant).__version__} {variant}{passes}"


class Studio:
    """A figure's meshes, strands and materials as Mitsuba's objects, to be photographed from any side under any light.

    The scene is built once; a picture brings a sky and a camera.
    """

    def __init__(self, figure: Drawable, variant: str = "scalar_rgb") -> None:
        """Hand a figure to Mitsuba."""
        self._mi = mitsuba(variant)
        self._compiles = variant != VARIANTS[0]
        shown = [part for part in figure.parts if not part.is_clear]
        shapes = {f"part{index}": self._shape(part) for index, part in enumerate(shown)}
        strands = lay_end_to_end(figure.strands)
        if len(strands):
            shapes["strands"] = self._strands(strands)
        integrator = {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 3, "hide_emitters": True}
        sky = self._sky(np.ones_like(sky_directions(FINE)[0], dtype=np.float32))
        self._scene = self._mi.load_dict({"type": "scene", "integrator": integrator, "sky": sky, **shapes})
        self._parameters = self._mi.traverse(self._scene)

    def photograph(
        self, camera: Camera, light: Light, size: int, samples: int, seed: int, window: Window | None = None
    ) -> Array:
        """Render (S, S, 4) float32: linear sRGB, multiplied by the opacity in the fourth channel.

        Args:
            camera: a canonical camera.
            light: what lights the head; its lamp shines as from as far as the sky.
            size: side in pixels.
            samples: samples per pixel; variants that compile take the next multiple of 4, above 8 of 16.
            seed: of the sampler.
            window: the only part that shows anything, where that is known; None for the whole picture.

        Raises:
            RenderError: Mitsuba gave numbers that are not finite.
        """
        if self._compiles:  # one window and two counts of samples, so that few programs serve all pictures
            at_once = PASSES[samples > 2 * PASSES[0]]
            window, passes, samples = None, math.ceil(samples / at_once), at_once
        else:
            passes = 1
        self._parameters["sky.data"] = self._mi.traverse(self._mi.load_dict(self._sky(all_round(light))))["data"]
        self._parameters.update()
        sensor = self._mi.load_dict(self._sensor(camera, size, samples, window or (0, 0, size, size)))
        taken = [
            np.array(self._mi.render(self._scene, sensor=sensor, spp=samples, seed=seed + number), np.float32)
            for number in range(passes)
        ]
        picture: Array = np.asarray(np.mean(taken, axis=0, dtype=np.float32))
        if not np.isfinite(picture).all():
            raise RenderError(f"Mitsuba returned {int((~np.isfinite(picture)).sum())} numbers that are not finite")
        if window is None:
            return picture
        whole = np.zeros((size, size, 4), dtype=np.float32)
        left, top, right, bottom = window
        whole[top:bottom, left:right] = picture
        return whole

    def _sky(self, radiance: Array) -> dict[str, Any]:
        """Make radiance come from where `sky_directions` says; Mitsuba counts columns the other way round."""
        turned = self._mi.ScalarTransform4f().rotate([0, 1, 0], 180.0)
        return {"type": "envmap", "bitmap": self._mi.Bitmap(np.ascontiguousarray(radiance[:, ::-1])), "to_world": turned}

    def _sensor(self, camera: Camera, size: int, samples: int, window: Window) -> dict[str, Any]:
        left, top, right, bottom = window
        pose = camera.cam2world @ np.diag([-1.0, -1.0, 1.0, 1.0])  # Mitsuba's cameras have x to the left and y up
        return {
            "type": "perspective",
            "fov_axis": "x",
            "fov": 2.0 * math.degrees(math.atan(0.5 / float(camera.intrinsics[0, 0]))),
            "near_clip": 0.05,
            "far_clip": 50.0,
            "to_world": self._mi.ScalarTransform4f(pose),
            "film": {
                "type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgba", "component_format": "float32",
                "rfilter": {"type": "box"}, "crop_offset_x": left, "crop_offset_y": top, "crop_width": right - left,
                "crop_height": bottom - top,
            },
            "sampler": {"type": sampler_of(samples), "sample_count": samples},
        }  # fmt: skip

    def _strands(self, strands: StrandSet) -> Any:
        """Make the strands' curves, whose colour is looked up by how far along all of them a place is."""
        mi, made = self._mi, curves_of(strands)
        colour = {**_texture(mi, made.colours[:, None], raw=True), "filter_type": "nearest"}
        look = {"type": "principled", **strand_finish(strands.wet), "base_color": colour}
        with tempfile.TemporaryDirectory(prefix="spherehead-strands-") as folder:
            file = Path(folder) / "strands.txt"
            file.write_bytes(made.skeleton())
            curves = mi.load_dict({"type": "linearcurve", "filename": str(file), "bsdf": look})
        parameters = mi.traverse(curves)
        parameters["control_points"] = made.points.ravel()
        parameters.update()
        return curves

    def _shape(self, part: Part) -> Any:
        """Make a mesh whose vertices are parted where the texture is cut."""
        mi = self._mi
        pairs, faces = np.unique(np.column_stack([part.faces.ravel(), part.face_uvs.ravel()]), axis=0, return_inverse=True)
        properties = mi.Properties()
        properties["bsdf"] = mi.load_dict(_material(mi, part))
        mesh = mi.Mesh(
            part.name, len(pairs), len(part.faces), has_vertex_normals=True, has_vertex_texcoords=True, props=properties
        )
        parameters = mi.traverse(mesh)
        parameters["vertex_positions"] = part.points[pairs[:, 0]].astype(np.float32).ravel()
        parameters["vertex_normals"] = part.normals[pairs[:, 0]].astype(np.float32).ravel()
        parameters["vertex_texcoords"] = part.uvs[pairs[:, 1]].astype(np.float32).ravel()
        parameters["faces"] = faces.reshape(-1).astype(np.uint32)
        parameters.update()
        return mesh


FINISHES: dict[str, dict[str, float]] = {
    "skin": {"roughness": 0.42, "specular": 0.38, "sheen": 0.15},
    "oily skin": {"roughness": 0.28, "specular": 0.6},
    "scalp": {"roughness": 0.65, "specular": 0.12, "sheen": 0.15},
    "eye": {"roughness": 0.05, "specular": 0.31},
    "hair": {"roughness": 0.5, "specular": 0.07},
    "strand": {"roughness": 0.38, "specular": 0.35},
    "wet strand": {"roughness": 0.22, "specular": 0.9},
    "cloth": {"roughness": 0.8, "specular": 0.2, "sheen": 0.4},
    "frame": {"roughness": 0.22, "specular": 0.5, "clearcoat": 0.6},
    "metal": {"roughness": 0.25, "metallic": 1.0, "specular": 0.5},
    "lens": {"roughness": 0.12, "specular": 0.5},
    "teeth": {"roughness": 0.2, "specular": 0.5},
    "scan": {"roughness": 0.6, "specular": 0.25},
}
"""Finish -> settings of Mitsuba's `principled` (Burley 2012)."""


def strand_finish(wet: float) -> dict[str, float]:
    """Return the finish of strands that are wet by a share, 0 to 1; raster light takes it too."""
    dry, soaked = FINISHES["strand"], FINISHES["wet strand"]
    return {name: (1.0 - wet) * dry[name] + wet * soaked[name] for name in dry}


def _material(mi: Any, part: Part) -> dict[str, Any]:
    if part.finish not in FINISHES:
        raise AssetError(f"part {part.name}: expected a finish of {', '.join(FINISHES)}, got {part.finish!r}")
    look: dict[str, Any] = {"type": "principled", **FINISHES[part.finish], "base_color": _colour(mi, part)}
    if part.is_opaque and part.finish in ("skin", "oily skin", "scalp", "eye"):
        return look
    both = {"type": "twosided", "bsdf": look}
    if part.is_opaque:
        return both
    return {"type": "mask", "opacity": _texture(mi, part.texture[..., 3], raw=True), "bsdf": both}


def _colour(mi: Any, part: Part) -> dict[str, Any]:
    if part.texture.shape[0] <= 2:
        return {"type": "rgb", "value": srgb_to_linear(part.texture[0, 0, :3] / 255.0).tolist()}
    return _texture(mi, part.texture[..., :3], raw=False)


def _texture(mi: Any, picture: Array, raw: bool) -> dict[str, Any]:
    bitmap = mi.Bitmap(np.ascontiguousarray(picture))
    return {"type": "bitmap", "bitmap": bitmap, "raw": raw, "filter_type": "bilinear", "wrap_mode": "clamp"}


def sampler_of(samples: int) -> str:
    """Return the sampler for a number of samples per pixel; strata leave a quarter less noise, but not all counts divide."""
    return "multijitter" if samples % math.isqrt(samples) == 0 else "independent"
