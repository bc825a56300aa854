"""How fast points are read from planes and rays are marched, beside the plain twins, forward and backward.

Run it alone on the machine: python tests/bench/volumes.py [--device cuda] [--threads 2] [--repeats 5]
Fast and plain take turns, so that a busy neighbour slows both; points lie along the rays of a picture, as in use.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering.ray_marching import MarchSettings, Randomness, compose, fine_depths, merge_ranks, render
from spherehead.model.volume_rendering.rays import camera_rays
from spherehead.model.volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings

SAMPLES = 48
Work = Callable[[], object]


def twins() -> ModuleType:
    """Load the plain twins from tests/model."""
    path = Path(__file__).resolve().parents[1] / "helpers" / "plain_volumes.py"
    spec = importlib.util.spec_from_file_location("plain_volumes", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seconds(work: Work, device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def compare(name: str, fast: Work, plain: Work | None, repeats: int, device: str) -> None:
    """Print median and range of both, and their ratio."""
    pairs: list[list[float]] = [[], []]
    works = [fast, plain] if plain else [fast]
    for turn in range(repeats + 1):
        for kept, work in zip(pairs, works, strict=False):
            spent = seconds(work, device)
            if turn:  # the first one warms up
                kept.append(spent)
    line = f"{name:44} {statistics.median(pairs[0]):7.3f} s ({min(pairs[0]):.3f} to {max(pairs[0]):.3f})"
    if plain:
        ratio = statistics.median(pairs[1]) / statistics.median(pairs[0])
        best = min(pairs[1]) / min(pairs[0])
        line += f", plain {statistics.median(pairs[1]):7.3f} s ({min(pairs[1]):.3f} to {max(pairs[1]):.3f})"
        line += f", {ratio:4.1f}x (best against best {best:.1f}x)"
    print(f"{line}, load {os.getloadavg()[0]:.1f}", flush=True)


def ray_points(resolution: int, device: str) -> torch.Tensor:
    """Return (1, 48 resolution^2, 3) points along the rays of a picture seen half from the side."""
    label = torch.from_numpy(Camera.look_at(0.6, 0.2).label())[None].to(device)
    origins, directions = camera_rays(label, resolution)
    depths = torch.linspace(2.25, 3.3, SAMPLES, device=device)
    return (origins[:, :, None] + depths[:, None] * directions[:, :, None]).flatten(1, 2)


def gather(resolution: int, arguments: argparse.Namespace, plain: ModuleType) -> None:
    """Spherical gather: forward, and backward to planes and to planes and points (a learned camera shift needs both)."""
    device, repeats = arguments.device, arguments.repeats
    points = ray_points(resolution, device)
    planes = torch.randn(1, 2, 3, 32, 256, 256, device=device, generator=torch.Generator(device).manual_seed(0))
    volume = DualSphereSettings(head_channels=None).open().to(device)
    table = volume.arrange(planes.flatten(1, 3))
    with torch.inference_mode():
        name = f"spherical gather, {points.shape[1]} points"
        compare(name, lambda: volume.sample(table, points), lambda: plain.dual_sphere(planes, points), repeats, device)
    seed = torch.randn(1, points.shape[1], 32, device=device)
    table.requires_grad_()
    planes.requires_grad_()
    for what, moved in (("planes", points), ("planes and points", points.clone().requires_grad_())):
        extra = [moved] if moved.requires_grad else []
        outputs = volume.sample(table, moved), plain.dual_sphere(planes, moved)

        def fast(output: torch.Tensor = outputs[0], extra: list[torch.Tensor] = extra) -> object:
            return torch.autograd.grad(output, [table, *extra], seed, retain_graph=True)

        def slow(output: torch.Tensor = outputs[1], extra: list[torch.Tensor] = extra) -> object:
            return torch.autograd.grad(output, [planes, *extra], seed, retain_graph=True)

        compare(f"  backward to {what}", fast, slow, repeats, device)


def others(resolution: int, arguments: argparse.Namespace, plain: ModuleType) -> None:
    """The other volumes' forward reads."""
    points = ray_points(resolution, arguments.device)
    maps = torch.randn(1, 288, 256, 256, device=arguments.device)
    axes = ((0, 1), (0, 2), (1, 2))
    settings = (TriPlaneSettings(), TriGridSettings(), HyPlaneSettings(), HyPlaneSettings(planes="2+2"))
    plains: tuple[Work | None, ...] = (
        lambda: plain.planar(maps[:, :96].unflatten(1, (3, 32)), points, axes),
        lambda: plain.grids(maps.unflatten(1, (3, 32, 3)), points),
        None,
        None,
    )
    for chosen, slow in zip(settings, plains, strict=True):
        volume = chosen.open().to(arguments.device)
        output = maps[:, : volume.plane_shape[0]]
        if chosen.kind == "hyplane":
            output = torch.randn(1, 32, 512, 512, device=arguments.device)
        table = volume.arrange(output)
        name = f"{chosen.kind} {getattr(chosen, 'planes', '')}, {points.shape[1]} points"
        with torch.inference_mode():
            compare(name, lambda v=volume, t=table: v.sample(t, points), slow, arguments.repeats, arguments.device)  # type: ignore[misc]


def march(resolution: int, arguments: argparse.Namespace, plain: ModuleType) -> None:
    """Rays, and a march through a field that costs nothing: what is left is sampling, merging and composition."""
    device, repeats = arguments.device, arguments.repeats
    label = torch.from_numpy(Camera.look_at(0.6, 0.2).label())[None].to(device)
    compare(f"rays of {resolution} x {resolution}", lambda: camera_rays(label, resolution), None, repeats, device)
    origins, directions = camera_rays(label, resolution)
    count = resolution**2
    features = torch.randn(1, count * SAMPLES, 32, device=device)
    density = torch.randn(1, count * SAMPLES, 1, device=device)

    def field(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return features[:, : points.shape[1]], density[:, : points.shape[1]]

    random = Randomness.draw(origins, MarchSettings(), torch.Generator(device).manual_seed(0))
    for skip in (False, True):
        settings = MarchSettings(skip_empty=skip)
        name = f"march of {resolution} x {resolution}, 48 + 48, {'skipping empty' if skip else 'asking all'}"
        with torch.inference_mode():
            compare(name, lambda s=settings: render(field, origins, directions, s, random), None, repeats, device)  # type: ignore[misc]
    coarse = torch.linspace(2.25, 3.3, SAMPLES, device=device).expand(1, count, SAMPLES)
    sigma, colour = density.view(1, count, SAMPLES), features.view(1, count, SAMPLES, 32)
    fine = fine_depths(coarse, compose(coarse, sigma)[0], SAMPLES)

    def published() -> object:
        depths, order = torch.cat([coarse, fine], -1).sort(-1)
        both = torch.cat([sigma, sigma], -1).gather(-1, order)
        colours = torch.cat([colour, colour], -2)
        return plain.compose(depths, both, colours.gather(-2, order[..., None].expand_as(colours)))

    def ours() -> object:
        ranks = merge_ranks(coarse, fine)
        depths, both = torch.empty(2, 1, count, 2 * SAMPLES, device=device)
        for rank, depth in zip(ranks, (coarse, fine), strict=True):
            depths.scatter_(-1, rank, depth)
            both.scatter_(-1, rank, sigma)
        _, shares = compose(depths, both)
        return sum(torch.matmul(shares.gather(-1, rank)[..., None, :], colour) for rank in ranks)

    with torch.inference_mode():
        compare(f"merge and compose {count} x 96 x 32", ours, published, repeats, device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--resolutions", default="64,128")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cuda = arguments.device.startswith("cuda")
    name = torch.cuda.get_device_name(arguments.device) if cuda else platform.processor() or platform.machine()
    print(f"{arguments.device} ({name}, {arguments.threads} threads), torch {torch.__version__}")
    plain = twins()
    for resolution in map(int, arguments.resolutions.split(",")):
        gather(resolution, arguments, plain)
        others(resolution, arguments, plain)
        march(resolution, arguments, plain)


if __name__ == "__main__":
    main()
