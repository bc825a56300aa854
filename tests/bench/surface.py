"""How long a surface takes from signed distances to a picture with gradients, on one core.

Run it alone on the machine: python tests/bench/surface.py [--cells 46] [--size 128] [--repeats 9]
The shape is an egg of a head's size with bumps, about 30,000 triangles at 46 cells.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time

import torch
from spherehead.datasets.camera import Camera
from spherehead.model.volume_rendering.surfaces.antialias import outlines
from spherehead.model.volume_rendering.surfaces.marching import Meshes, marching_tetrahedra
from spherehead.model.volume_rendering.surfaces.rasterise import project, rasterise
from spherehead.model.volume_rendering.surfaces.tetrahedra import body_centred_grid


def drawn(mesh: Meshes, label: torch.Tensor, size: int) -> torch.Tensor:
    """Return a number that depends on coverage, depth and position of every pixel."""
    screen = project(mesh, label, size)
    fragments = rasterise(screen, 1)
    points = fragments.blend(mesh.vertices, mesh.faces)
    values = torch.cat([points, fragments.depth.to(points.dtype)[:, None], torch.ones_like(points[:, :1])], dim=1)
    picture = points.new_zeros(size * size, 5).index_copy(0, fragments.pixel, values)
    return outlines(mesh, screen, fragments, label).apply(picture).sum()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=46)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, 1 thread")
    grid = body_centred_grid(options.cells)
    points = grid.vertices / torch.tensor([0.75, 1.0, 0.9])
    distances = 0.36 - points.norm(dim=1) + 0.01 * torch.sin(40 * grid.vertices).prod(dim=1)
    label = torch.as_tensor(Camera.look_at(yaw=0.4, pitch=0.1).label())[None]
    times: dict[str, list[float]] = {"marching, with gradient": [], "picture": [], "picture, with gradient": []}
    for _ in range(options.repeats + 1):
        start = time.perf_counter()
        leaf = distances.clone().requires_grad_()
        mesh = marching_tetrahedra(grid, leaf)
        mesh.vertices.sum().backward()
        times["marching, with gradient"].append(time.perf_counter() - start)
        vertices = mesh.vertices.detach()
        start = time.perf_counter()
        with torch.no_grad():
            drawn(Meshes(vertices, mesh.faces, mesh.vertex_head), label, options.size)
        times["picture"].append(time.perf_counter() - start)
        start = time.perf_counter()
        drawn(Meshes(vertices.requires_grad_(), mesh.faces, mesh.vertex_head), label, options.size).backward()
        times["picture, with gradient"].append(time.perf_counter() - start)
    print(f"{len(mesh.faces):,} triangles, {options.size} pixels")
    for name, spent in times.items():
        kept = spent[1:]  # the first one warms up
        print(f"{name:26} {statistics.median(kept):.3f} s ({min(kept):.3f} to {max(kept):.3f})")


if __name__ == "__main__":
    main()
