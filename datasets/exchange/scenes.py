"""Pictures with known cameras for programs that fit one scene: nerfstudio's transforms.json and COLMAP's text files.

A scene is one person: `identity` picks one where a set has several. Poses are in the head frame (y up, the face looks along
+z, one world unit is about 44 cm), which both programs take as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...manifests.config import ConfigError
from ..camera import Camera
from .cameras import Pinhole, from_opengl, normalised, pinhole, quaternion, to_opengl
from .eg3d import Written
from .kept import Kept, Names, kept_samples, sink

TRANSFORMS = "transforms.json"
PINHOLES = ("PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV", "FULL_OPENCV", "PERSPECTIVE")
"""Camera models that are read; without distortion they all are pinholes, unlike fisheyes and panoramas."""


def _labelled(folder: Path, names: Names, split: str, identity: str) -> Iterator[tuple[Kept, Camera, int]]:
    """Yield samples with camera and side.

    Raises:
        ConfigError: one has no camera.
    """
    for sample in kept_samples(folder, names, split, identity):
        if sample.camera is None:
            raise ConfigError(f"{sample.id} has no camera; build with cameras")
        yield sample, sample.camera, sample.size()[0]


def write_nerfstudio(folder: Path, out: Path, names: Names = "numbered", split: str = "", identity: str = "") -> Written:
    """Write images/, masks/ and transforms.json, with OpenGL's camera axes.

    Args:
        folder: a finished data set.
        out: new folder, or new file that ends with .zip.
        names: how pictures are named.
        split: only this one, where given.
        identity: only pictures of this person, where given.

    Raises:
        ConfigError: a picture has no camera, a camera has skew, or something lies at `out` already.
    """
    frames, masks, side = list[dict[str, Any]](), 0, 0
    with sink(out) as files:
        for sample, camera, side in _labelled(folder, names, split, identity):
            lens = pinhole(camera, side, side)
            frame: dict[str, Any] = {
                "file_path": f"images/{sample.name}.{sample.suffix}",
                "fl_x": lens.fx, "fl_y": lens.fy, "cx": lens.cx, "cy": lens.cy, "w": side, "h": side,
                "transform_matrix": to_opengl(camera.cam2world).tolist(),
            }  # fmt: skip
            files.add(frame["file_path"], sample.image)
            if sample.mask is not None:
                frame["mask_path"] = f"masks/{sample.name}.png"
                files.add(frame["mask_path"], sample.mask)
                masks += 1
            frames.append(frame)
        document = {
            "camera_model": "PINHOLE",
            "orientation_override": "none",
            "auto_scale_poses_override": False,
            "frames": frames,
        }
        files.add(TRANSFORMS, (json.dumps(document, indent=1) + "\n").encode())
    return Written(len(frames), side, masks)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a scene."""

    name: str
    """Of its file, as the scene names it."""
    camera: Camera
    size: tuple[int, int]
    """Width and height in pixels."""
    mask: str = ""
    """Its mask's file, or nothing."""


def read_transforms(data: bytes) -> list[Frame]:
    """Read every frame of a transforms.json, into OpenCV's axes.

    Intrinsics may stand at the top, in a frame, or as `camera_angle_x`; lens distortion, fisheyes and panoramas are refused.

    Raises:
        ConfigError: it is no such file; the message names frame and field.
    """
    try:
        document = json.loads(data)
        frames = document["frames"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ConfigError(f'expected a transforms.json with "frames", got {type(error).__name__}: {error}') from error
    if not isinstance(frames, list):
        raise ConfigError(f'expected a transforms.json with a list of frames, got {type(frames).__name__} as "frames"')
    found = []
    for number, frame in enumerate(frames):
        try:
            if not isinstance(frame, dict):
                raise ValueError(f"expected a mapping, got {type(frame).__name__}")
            found.append(_frame({**{key: value for key, value in document.items() if key != "frames"}, **frame}))
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ConfigError(f"transforms.json, frame {number}: {what}") from error
    return found


def _frame(frame: dict[str, Any]) -> Frame:
    model = str(frame.get("camera_model") or PINHOLES[0])
    if model not in PINHOLES or frame.get("is_fisheye"):
        told = "is_fisheye" if model in PINHOLES else repr(model)
        raise ValueError(f"expected a pinhole's camera_model ({', '.join(PINHOLES)}), got {told}; undistort the pictures first")
    bent = [name for name in ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2") if abs(float(frame.get(name, 0.0))) > 1e-9]
    if bent:
        raise ValueError(f"lens distortion ({', '.join(bent)}) is not read; undistort the pictures first")
    width, height = int(frame["w"]), int(frame["h"])
    if min(width, height) < 1:
        raise ValueError(f"expected a width and height of 1 or more, got {width} x {height}")
    focal = frame["fl_x"] if "fl_x" in frame else width / 2 / math.tan(float(frame["camera_angle_x"]) / 2)
    lens = Pinhole(
        float(focal), float(frame.get("fl_y", focal)), float(frame.get("cx", width / 2)), float(frame.get("cy", height / 2))
    )
    matrix = np.array(frame["transform_matrix"], dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"expected a transform_matrix of 4 x 4, got {matrix.shape}")
    camera = Camera(from_opengl(matrix), normalised(lens, width, height))
    return Frame(str(frame["file_path"]), camera, (width, height), str(frame.get("mask_path") or ""))


def write_colmap(folder: Path, out: Path, names: Names = "numbered", split: str = "", identity: str = "") -> Written:
    """Write images/, masks/ and sparse/0 with cameras.txt, images.txt and an empty points3D.txt.

    Pictures of equal intrinsics share a camera. Arguments and errors are those of `write_nerfstudio`; masks are named as
    COLMAP wants them, by the picture's whole name with .png behind. An original name with a space is refused too.
    """
    lenses, lines, masks, side = dict[tuple[Pinhole, int], int](), list[str](), 0, 0
    with sink(out) as files:
        for number, (sample, camera, side) in enumerate(_labelled(folder, names, split, identity), 1):
            lens = lenses.setdefault((pinhole(camera, side, side), side), len(lenses) + 1)
            turn, shift = quaternion(camera)
            name = f"{sample.name}.{sample.suffix}"
            if name.split() != [name]:  # COLMAP's readers end a name at the first space
                raise ConfigError(f"the original name {name!r} has a space, which images.txt cannot hold; take numbered names")
            pose = " ".join(f"{value:.17g}" for value in (*turn, *shift))
            lines += [f"{number} {pose} {lens} {name}", ""]
            files.add(f"images/{name}", sample.image)
            if sample.mask is not None:
                files.add(f"masks/{name}.png", sample.mask)
                masks += 1
        rows = [
            f"{number} PINHOLE {size} {size} {lens.fx:.17g} {lens.fy:.17g} {lens.cx:.17g} {lens.cy:.17g}"
            for (lens, size), number in lenses.items()
        ]
        files.add("sparse/0/cameras.txt", ("# CAMERA_ID MODEL WIDTH HEIGHT PARAMS\n" + "\n".join(rows) + "\n").encode())
        files.add(
            "sparse/0/images.txt", ("# IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME\n" + "\n".join(lines) + "\n").encode()
        )
        files.add("sparse/0/points3D.txt", b"# POINT3D_ID X Y Z R G B ERROR TRACK\n")
    return Written(len(lines) // 2, side, masks)
