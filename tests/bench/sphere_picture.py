"""Draw sphere A, sphere B, their weights and the fused result on a head, all through the toolkit's own rays, march and volume.

Run: python tests/bench/sphere_picture.py OUT.png. The head is a distance function; each sphere's (colatitude, azimuth)
plane holds a chequerboard whose colour runs once along the azimuth, so that the seam shows as a jump and the poles as stars.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering.ray_marching import MarchSettings, render
from spherehead.model.volume_rendering.rays import camera_rays
from spherehead.model.volumes import DualSphereSettings
from spherehead.model.volumes.dual_sphere import fusion_weights

SIDE = 240
VIEWS = {
    "front": (0.0, 0.1),
    "left three quarters": (0.8, 0.15),
    "left ear": (math.pi / 2, 0.0),
    "back": (math.pi, 0.1),
    "crown": (0.3, 1.25),
}
ROWS = ("sphere A alone", "sphere B alone", "weights: A blue, B orange", "fused")
COLD, WARM = ((0.10, 0.20, 0.55), (0.45, 0.85, 0.95)), ((0.60, 0.15, 0.05), (1.00, 0.85, 0.35))
"""Colours of A and B at the two ends of the azimuth."""


def ellipsoid(points: torch.Tensor, centre: tuple[float, ...], axes: tuple[float, ...]) -> torch.Tensor:
    """A lower bound of the distance to an axis-parallel ellipsoid, negative inside."""
    return (((points - points.new_tensor(centre)) / points.new_tensor(axes)).norm(dim=-1) - 1) * min(axes)


def melt(one: torch.Tensor, other: torch.Tensor, width: float) -> torch.Tensor:
    """Smooth minimum of two distances."""
    share = (0.5 + 0.5 * (other - one) / width).clamp(0, 1)
    return torch.lerp(other, one, share) - width * share * (1 - share)


def head(points: torch.Tensor) -> torch.Tensor:
    """Bound of the distance to a head: skull, jaw, nose, two ears and a neck."""
    distance = ellipsoid(points, (0, 0.05, -0.02), (0.195, 0.225, 0.24))
    distance = melt(distance, ellipsoid(points, (0, -0.10, 0.07), (0.135, 0.16, 0.15)), 0.06)
    distance = melt(distance, ellipsoid(points, (0, -0.035, 0.212), (0.03, 0.055, 0.05)), 0.03)
    neck = torch.maximum(points[..., [0, 2]].sub(points.new_tensor([0, -0.06])).norm(dim=-1) - 0.105, points[..., 1] + 0.1)
    distance = melt(distance, neck, 0.05)
    for side in (-1, 1):
        distance = melt(distance, ellipsoid(points, (side * 0.2, 0.0, -0.03), (0.02, 0.06, 0.04)), 0.015)
    return distance


def chequers(ends: tuple[tuple[float, ...], tuple[float, ...]], size: int) -> torch.Tensor:
    """Return a (3, size, size) plane over (colatitude across, azimuth down): fields of 15 degrees, one colour ramp down."""
    place = (torch.arange(size) + 0.5) / size
    down, across = torch.meshgrid(place, place, indexing="ij")
    dark = ((across * 12).floor() + (down * 24).floor()) % 2
    ramp = torch.lerp(torch.tensor(ends[0])[:, None, None], torch.tensor(ends[1])[:, None, None], down)
    return ramp * (1 - 0.35 * dark)


def surface(yaw: float, pitch: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """March rays to the head: (1, M, 3) points on it, (M, 1) how much each ray hit, (M, 1) light there."""
    label = torch.from_numpy(Camera.look_at(yaw, pitch).label())[None]
    origins, directions = camera_rays(label, SIDE)
    march = MarchSettings(coarse_samples=64, fine_samples=48, sphere_radius=0.6, crop=None, chunk=1 << 13)
    seen = render(lambda points: (points[..., :1], -3e3 * head(points)[..., None]), origins, directions, march)
    points = origins + seen.depth * directions
    for _ in range(6):  # from the march's mean depth onto the surface
        points = points + head(points)[..., None].clamp(-0.02, 0.02) * directions
    with torch.enable_grad():
        leaf = points.clone().requires_grad_()
        normals = torch.nn.functional.normalize(torch.autograd.grad(head(leaf).sum(), leaf)[0], dim=-1)
    light = (-(normals * directions).sum(-1, keepdim=True)).clamp(0, 1)
    return points, seen.weight[0], 0.35 + 0.65 * light[0]


def colours(points: torch.Tensor) -> list[torch.Tensor]:
    """Return (M, 3) colours of every row of the picture."""
    planes = torch.zeros(1, 2, 3, 3, 256, 256)
    planes[0, 0, 0], planes[0, 1, 0] = chequers(COLD, 256), chequers(WARM, 256)
    rows = []
    for spheres, chosen in (("a", planes[:, :1]), ("b", planes[:, 1:]), ("both", planes)):
        volume = DualSphereSettings(spheres=spheres, num_features=3, head_channels=None).open()  # type: ignore[arg-type]
        rows.append(3 * volume.sample(volume.prepare(chosen.flatten(1, 3)), points)[0])  # the two planes over radius are 0
    share_a, share_b = fusion_weights(*points[0].unbind(-1))
    blue, orange = torch.tensor([0.15, 0.35, 0.85]), torch.tensor([0.95, 0.55, 0.10])
    rows.insert(2, share_a[:, None] * blue + share_b[:, None] * orange)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    left, top = 40, 26
    sheet = Image.new("RGB", (left + SIDE * len(VIEWS), top + SIDE * len(ROWS)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    with torch.no_grad():
        for column, (name, (yaw, pitch)) in enumerate(VIEWS.items()):
            draw.text((left + SIDE * (column + 0.5), top / 2), name, fill="black", font=font, anchor="mm")
            points, hit, light = surface(yaw, pitch)
            for row, colour in enumerate(colours(points)):
                picture = hit * (colour * light).clamp(0, 1) + 1 - hit
                pixels = (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).view(SIDE, SIDE, 3).numpy()
                sheet.paste(Image.fromarray(pixels), (left + SIDE * column, top + SIDE * row))
    for row, name in enumerate(ROWS):
        words = Image.new("RGB", (SIDE, left), "white")
        ImageDraw.Draw(words).text((SIDE / 2, left / 2), name, fill="black", font=font, anchor="mm")
        sheet.paste(words.rotate(90, expand=True), (0, top + SIDE * row))
    sheet.save(out, optimize=True)
    print(f"{out}: {sheet.width} x {sheet.height}")


if __name__ == "__main__":
    main()
