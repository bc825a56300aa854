"""Believable pictures of a figure with Mitsuba 3: materials, light and camera, and colours laid on a background.

The only module that imports mitsuba. Labels come from `geometry`, who lies in front of which lamp from `light`. One process
renders with one variant: scalar_rgb works everywhere; llvm_ad_rgb is faster where a probe in a process of its own succeeded.
"""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from functools import cache
from typing import Any

import cv2
import numpy as np

from ....datasets.arrays import Array, Floats, Pixels
from ....datasets.camera import Camera
from ..assets.formats import AssetError
from ..hair.strands import lay_end_to_end
from ..people.figure import Drawable, Part
from ..people.paint import linear_to_srgb, srgb_to_linear
from .light import Light
from .ribbon_mesh import ribbon_mesh

log = logging.getLogger(__name__)

VARIANTS = ("scalar_rgb", "llvm_ad_rgb", "cuda_ad_rgb")
"""From the one that runs everywhere to the fastest. Each gives the same bytes every time (not tried with CUDA), and other bytes
than the others."""
AUTO = "auto"
"""Choice of the fastest variant that runs here; `resolve` says which that is."""
CHOICES = (AUTO, *VARIANTS)
Window = tuple[int, int, int, int]
"""Left, top, right, bottom of a part of a picture in pixels."""
PASS = 16
"""Samples a pixel that compiled variants take at once: all of a pixel's are summed in one order then. With 30 at once six
renderings of one picture at 512 px were six different files (llvm_ad_rgb, two threads)."""
MAX_DEPTH = 9
"""Longest light path: sheets of hair count each time they are passed."""
METERED, METERING = 0.22, 0.35
"""Linear grey that a camera's own meter aims at, and how much of the way it goes."""
BRIGHT = ((0.85, 0.60), (0.95, 0.72))
"""Shares of the head and the linear grey under which a camera keeps them: pale skin beside dark hair is not washed out."""
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


LINEAR = srgb_to_linear(np.arange(256) / 255.0)
"""Linear light of 8-bit sRGB values."""


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
    return f"mitsuba {mitsuba(variant).__version__} {variant}" + (f" in passes of {PASS}" if variant != VARIANTS[0] else "")


class Studio:
    """A figure's meshes and materials as Mitsuba's objects, to be photographed from any side under any light."""

    def __init__(self, figure: Drawable, variant: str = "scalar_rgb") -> None:
        """Hand a figure to Mitsuba."""
        self._mi = mitsuba(variant)
        self._compiles = variant != VARIANTS[0]
        shown = [part for part in figure.parts if not part.is_clear]
        self._shapes = {f"part{index}": self._shape(part) for index, part in enumerate(shown)}
        self._strands = lay_end_to_end(figure.strands)

    def photograph(
        self, camera: Camera, light: Light, size: int, samples: int, seed: int, window: Window | None = None
    ) -> Array:
        """Render (S, S, 4) float32: linear sRGB, multiplied by the opacity in the fourth channel.

        Args:
            camera: a canonical camera.
            light: what lights the head.
            size: side in pixels.
            samples: samples per pixel; variants that compile take the next multiple of `PASS`.
            seed: of the sampler.
            window: the only part that shows anything, where that is known; None for the whole picture.

        Raises:
            RenderError: Mitsuba gave numbers that are not finite.
        """
        if self._compiles:  # one window and one count of samples, so that few programs serve all pictures
            window, passes, samples = None, math.ceil(samples / PASS), PASS
        else:
            passes = 1
        scene = self._scene(camera, light, size, samples, window or (0, 0, size, size))
        taken = [np.array(self._mi.render(scene, spp=samples, seed=seed + number), np.float32) for number in range(passes)]
        picture: Array = np.asarray(np.mean(taken, axis=0, dtype=np.float32))
        if not np.isfinite(picture).all():
            raise RenderError(f"Mitsuba returned {int((~np.isfinite(picture)).sum())} numbers that are not finite")
        if window is None:
            return picture
        whole = np.zeros((size, size, 4), dtype=np.float32)
        left, top, right, bottom = window
        whole[top:bottom, left:right] = picture
        return whole

    def _scene(self, camera: Camera, light: Light, size: int, samples: int, window: Window) -> Any:
        mi = self._mi
        sky = {"type": "envmap", "bitmap": mi.Bitmap(np.ascontiguousarray(light.sky)), "to_world": self._upright()}
        return mi.load_dict(
            {
                "type": "scene",
                "integrator": {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 3, "hide_emitters": True},
                "sensor": self._sensor(camera, size, samples, window),
                "sky": sky,
                **self._lamp(light),
                **self._shapes,
                **self._ribbons(camera),
            }
        )

    def _upright(self) -> Any:
        """Turn the sky so that its middle column lies in front of the face."""
        return self._mi.ScalarTransform4f().rotate([0, 1, 0], 180.0)

    def _lamp(self, light: Light) -> dict[str, Any]:
        if light.key is None:
            return {}
        emitter = {"type": "area", "radiance": {"type": "rgb", "value": list(light.key.colour)}}
        return {"key": {"type": "sphere", "center": list(light.key.place), "radius": light.key.radius, "emitter": emitter}}

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

    def _ribbons(self, camera: Camera) -> dict[str, Any]:
        """Make the strands' mesh, which faces the camera."""
        if not len(self._strands):
            return {}
        mi, made = self._mi, ribbon_mesh(self._strands, camera)
        colour = {"type": "mesh_attribute", "name": "vertex_color"}
        properties = mi.Properties()
        properties["bsdf"] = mi.load_dict(
            {"type": "twosided", "bsdf": {"type": "principled", **FINISHES["strand"], "base_color": colour}}
        )
        mesh = mi.Mesh("strands", len(made.points), len(made.faces), has_vertex_normals=True, props=properties)
        mesh.add_attribute("vertex_color", 3, made.colours.ravel())
        parameters = mi.traverse(mesh)
        parameters["vertex_positions"] = made.points.ravel()
        parameters["vertex_normals"] = made.normals.ravel()
        parameters["faces"] = made.faces.ravel()
        parameters.update()
        return {"strands": mesh}

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
    "eye": {"roughness": 0.06, "specular": 0.5, "clearcoat": 1.0, "clearcoat_gloss": 0.97},
    "hair": {"roughness": 0.5, "specular": 0.07},
    "strand": {"roughness": 0.38, "specular": 0.35},
    "cloth": {"roughness": 0.8, "specular": 0.2, "sheen": 0.4},
    "frame": {"roughness": 0.22, "specular": 0.5, "clearcoat": 0.6},
    "metal": {"roughness": 0.25, "metallic": 1.0, "specular": 0.5},
    "lens": {"roughness": 0.12, "specular": 0.5},
    "teeth": {"roughness": 0.2, "specular": 0.5},
    "scan": {"roughness": 0.6, "specular": 0.25},
}
"""Finish -> settings of Mitsuba's `principled` (Burley 2012)."""


def _material(mi: Any, part: Part) -> dict[str, Any]:
    if part.finish not in FINISHES:
        raise AssetError(f"part {part.name}: expected a finish of {', '.join(FINISHES)}, got {part.finish!r}")
    look: dict[str, Any] = {"type": "principled", **FINISHES[part.finish], "base_color": _colour(mi, part)}
    if part.is_opaque and part.finish in ("skin", "eye"):
        return look
    both = {"type": "twosided", "bsdf": look}
    if part.is_opaque:
        return both
    return {"type": "mask", "opacity": _texture(mi, part.texture[..., 3], raw=True), "bsdf": both}


def _colour(mi: Any, part: Part) -> dict[str, Any]:
    if part.texture.shape[0] <= 2:
        return {"type": "rgb", "value": srgb_to_linear(part.texture[0, 0, :3] / 255.0).tolist()}
    return _texture(mi, part.texture[..., :3], raw=False)


def _texture(mi: Any, picture: Pixels, raw: bool) -> dict[str, Any]:
    bitmap = mi.Bitmap(np.ascontiguousarray(picture))
    return {"type": "bitmap", "bitmap": bitmap, "raw": raw, "filter_type": "bilinear", "wrap_mode": "clamp"}


def sampler_of(samples: int) -> str:
    """Return the sampler for a number of samples per pixel; strata leave a quarter less noise, but not all counts divide."""
    return "multijitter" if samples % math.isqrt(samples) == 0 else "independent"


def window_of(mask: Pixels, margin: int = 4) -> Window | None:
    """Return the part of a picture in which an (S, S) mask covers anything, with a margin; None where it covers nothing."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return None
    left, top = max(int(columns[0]) - margin, 0), max(int(rows[0]) - margin, 0)
    return left, top, min(int(columns[-1]) + 1 + margin, mask.shape[1]), min(int(rows[-1]) + 1 + margin, mask.shape[0])


def expose(picture: Array, camera: Camera, light: Light) -> Array:
    """Bring a rendered picture to the exposure that a camera would choose, and clean single bright specks away.

    Args:
        picture: (S, S, 4) as from `Studio.photograph`.
        camera: where it was taken from.
        light: gives the exposure.

    Returns:
        (S, S, 4) float32: premultiplied linear colours with white at 1, and opacity.
    """
    gain = metered_gain(picture, light, camera)
    colours = _without_specks(picture[..., :3] * np.float32(gain))
    return np.dstack([colours, np.clip(picture[..., 3], 0.0, 1.0)]).astype(np.float32)


def metered_gain(picture: Array, light: Light, camera: Camera) -> float:
    """Return the factor on an (S, S, 4) picture that a camera would choose, from that of a meter beside the head."""
    gain = light.gain(camera.position / camera.radius)
    if light.steady:
        return gain
    solid = picture[..., 3] > 0.9
    if solid.any():  # cameras meter what they see: a dark head is lightened by a part of what it lacks
        grey = picture[solid][:, :3].mean(axis=1) * gain
        factor = (METERED / max(float(np.mean(np.minimum(grey, 1.0))), 0.01)) ** METERING
        limits = [most / max(float(np.quantile(grey, share)), 0.01) for share, most in BRIGHT]
        gain *= min(factor, *limits)
    return gain


def develop(exposed: Array, background: Pixels) -> Pixels:
    """Lay an exposed (S, S, 4) picture on an (S, S, 3) sRGB background and return (S, S, 3) sRGB."""
    developed = background.copy()
    window = window_of((exposed[..., 3] > 0).astype(np.uint8), margin=0)
    if window is not None:
        left, top, right, bottom = window
        part = np.s_[top:bottom, left:right]
        developed[part] = composite(_shoulder(exposed[part][..., :3]), exposed[part][..., 3:4], background[part])
    return developed


def _without_specks(linear: Array) -> Array:
    """Replace pixels far brighter than all their neighbours, which few samples leave behind, by the neighbours' median."""
    median = np.dstack([cv2.medianBlur(channel, 3) for channel in cv2.split(np.ascontiguousarray(linear))])
    specks = linear.max(axis=2) > 2.5 * median.max(axis=2) + 0.08
    linear[specks] = median[specks]
    return linear


def _shoulder(linear: Array) -> Array:
    """Compress highlights above 0.7 smoothly towards 1, as cameras do, keeping everything below."""
    above = np.maximum(linear - 0.7, 0.0)
    return np.minimum(linear, 0.7) + 0.3 * (1.0 - np.exp(-above / 0.3))


def composite(linear: Floats, alpha: Array, background: Pixels) -> Pixels:
    """Lay premultiplied linear colours over an sRGB background, in linear light, and return sRGB."""
    mixed = np.clip(linear + (1.0 - alpha) * LINEAR[background], 0.0, 1.0)
    return np.round(255.0 * linear_to_srgb(mixed)).astype(np.uint8)
