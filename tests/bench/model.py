"""How fast and how large the models are: forward, further views, a generator's step and the operators, beside plain twins.

Run it alone on the machine: python tests/bench/model.py [--preset spherehead-512] [--device cuda] [--cases forward,step]
Each case runs in a process of its own, so that its peak memory is its own. Plain rows run the same network through the slow
twins of the tests: unfused modulation, zero-stuffed filters, per-plane lookups, unfolded heads, every sample asked, and
ordinary memory pages.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from spherehead.datasets.camera import Camera
from spherehead.manifests.config import override
from spherehead.model.discriminator import Discriminator
from spherehead.model.generator import Generator
from spherehead.model.ops import fir
from spherehead.model.presets import ModelSettings, preset, with_renderer
from spherehead.model.volume_rendering import ManifoldSettings, MarchSettings
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volumes.dual_sphere import DualSphere

TESTS = Path(__file__).resolve().parents[1]
CASES = ("forward", "orbit", "step", "renderers", "operators", "plain-forward", "plain-step")


def twin(name: str) -> ModuleType:
    """Load a file of plain twins from tests/model."""
    spec = importlib.util.spec_from_file_location(name, TESTS / "helpers" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclasses.dataclass
class Bench:
    """One process's settings and its rows."""

    device: torch.device
    repeats: int
    rows: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def wait(self) -> None:
        """Wait until the device has done what it was given, so that the clock is its clock."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def measure(self, name: str, work: Callable[[], object], images: int = 1) -> None:
        """Time `work` after one warm-up and keep a row with median, spread, CPU seconds and peak memory so far."""
        work()
        self.wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        wall, cpu = [], []
        for _ in range(self.repeats):
            start, used = time.perf_counter(), time.process_time()
            work()
            self.wait()
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
        self.rows.append(
            {
                "what": name,
                "median_s": statistics.median(wall),
                "min_s": min(wall),
                "max_s": max(wall),
                "cpu_s": statistics.median(cpu),
                "images_s": images / statistics.median(wall),
                "peak_gib": self.peak(),
                "load": os.getloadavg()[0],
            }
        )

    def peak(self) -> float:
        """Return the peak memory in GiB: of the device, or of this process on a CPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**30
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def inputs(settings: ModelSettings, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(1, settings.generator.z_dim, generator=torch.Generator().manual_seed(0))
    return z.to(device), torch.from_numpy(Camera.look_at(0.0, 0.0).label())[None].to(device)


def build(settings: ModelSettings, device: torch.device) -> Generator:
    torch.manual_seed(0)
    return Generator(settings.generator).to(device)


class Timed(torch.nn.Module):
    """A part of a network that adds its seconds to a sum; it stands in front of the part, which stays compiled if it is."""

    def __init__(self, part: torch.nn.Module, name: str, spent: dict[str, float], bench: Bench) -> None:
        super().__init__()
        self.part, self.name, self.spent, self.bench = part, name, spent, bench

    def __getattr__(self, name: str) -> Any:
        """Return what only the part has, such as the number of its style vectors."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("part"), name)

    def forward(self, *inputs: Any, **options: Any) -> Any:
        self.bench.wait()
        start = time.perf_counter()
        result = self.part(*inputs, **options)
        self.bench.wait()
        self.spent[self.name] = self.spent.get(self.name, 0.0) + time.perf_counter() - start
        return result


def parts(bench: Bench, generator: Generator) -> dict[str, float]:
    """Put a clock in front of the big parts of a generator; the returned dictionary sums their seconds."""
    spent: dict[str, float] = {}
    for attribute, name in (("backbone",) * 2, ("background",) * 2, ("upsampler", "super-resolution")):
        part = getattr(generator, attribute)
        if part is not None:
            setattr(generator, attribute, Timed(part, name, spent, bench))
    return spent


def forward(bench: Bench, settings: ModelSettings, resolution: int) -> None:
    generator, (z, camera) = build(settings, bench.device).eval(), inputs(settings, bench.device)
    with torch.inference_mode():
        bench.measure(f"forward {resolution}", lambda: generator(z, camera, neural_resolution=resolution))
        total, spent = bench.rows[-1]["median_s"], parts(bench, generator)
        generator(z, camera, neural_resolution=resolution)
        spent["volume, march, rest"] = total - sum(spent.values())
    bench.rows[-1]["parts"] = spent


def orbit(bench: Bench, settings: ModelSettings, resolution: int) -> None:
    generator, (z, camera) = build(settings, bench.device).eval(), inputs(settings, bench.device)
    with torch.inference_mode():
        ws = generator.styles(z, camera)
        planes = generator.planes(ws)
        bench.measure(
            f"further view {resolution}", lambda: generator.synthesise(ws, camera, planes=planes, neural_resolution=resolution)
        )


def step(bench: Bench, settings: ModelSettings, resolution: int) -> None:
    generator, (z, camera) = build(settings, bench.device).train(), inputs(settings, bench.device)
    discriminator = Discriminator(settings.discriminator).to(bench.device)
    discriminator.requires_grad_(False)
    random = torch.Generator(bench.device).manual_seed(0)
    spent: dict[str, float] = {}

    def work(clock: Callable[[str], None] = lambda part: None) -> None:
        generator.zero_grad(set_to_none=True)
        clock("start")
        portrait = generator(z, camera, neural_resolution=resolution, noise="random", random=random)
        clock("generator")
        loss = torch.nn.functional.softplus(-discriminator(portrait, camera)).mean()
        clock("discriminator")
        loss.backward()
        clock("backward")

    def clock(part: str) -> None:
        bench.wait()
        spent[part] = time.perf_counter()

    bench.measure(f"generator step {resolution}", work)
    work(clock)  # once more, waiting after each part
    moments = list(spent.items())
    bench.rows[-1]["parts"] = {part: now - before for (part, now), (_, before) in zip(moments[1:], moments, strict=False)}


def renderers(bench: Bench, settings: ModelSettings, resolution: int) -> None:
    """Time the same network with the march and with manifolds: the whole forward, and volume and renderer alone."""
    z, camera = inputs(settings, bench.device)
    rays = Rays.cast(camera, resolution)
    for name, renderer in (("march", MarchSettings()), ("manifolds", ManifoldSettings())):
        generator = build(with_renderer(settings, renderer), bench.device).eval()
        with torch.inference_mode():
            scene = generator.scene(generator.planes(generator.styles(z, camera)))
            bench.measure(f"{name}: rendering alone {resolution}", functools.partial(generator.renderer, scene, rays))
            work = functools.partial(generator, z, camera, neural_resolution=resolution)
            bench.measure(f"{name}: forward {resolution}", work)


def operators(bench: Bench, settings: ModelSettings, resolution: int) -> None:
    plain, volumes = twin("plain"), twin("plain_volumes")
    x = torch.randn(1, 256, 256, 256, device=bench.device)
    weight = torch.randn(256, 128, 3, 3, device=bench.device)
    last = x.contiguous(memory_format=torch.channels_last), weight.contiguous(memory_format=torch.channels_last)
    smoothed = torch.randn(1, 128, 513, 513, device=bench.device)
    smoothed_last = smoothed.contiguous(memory_format=torch.channels_last)
    small = torch.randn(1, 128, 256, 256, device=bench.device)
    small_last = small.contiguous(memory_format=torch.channels_last)
    points = (torch.rand(1, 48 * resolution**2, 3, device=bench.device) - 0.5) * 0.8
    with torch.inference_mode():
        bench.measure("up-sampling 128 @ 256", lambda: fir.upsample(small_last))
        bench.measure("plain twin of it", lambda: plain.upsample(small))
        bench.measure("smoothing 128 @ 513", lambda: fir.smooth(smoothed_last, 1, 4.0))
        bench.measure("plain twin of it", lambda: plain.upfirdn(smoothed, 1, 1, (1, 1), 4.0))
        bench.measure("up-sampling convolution 256 to 128 @ 256", lambda: fir.conv_upsample(*last))
        bench.measure("plain twin of it", lambda: plain.conv_upsample(x, weight))
        chosen = settings.generator.volume
        if chosen.kind == "dual_sphere" and chosen.spheres == "both":
            volume = chosen.open().to(bench.device)
            six = torch.randn(1, 2, 3, chosen.num_features, chosen.resolution, chosen.resolution, device=bench.device)
            table = volume.arrange(six.flatten(1, 3))
            bench.measure(f"spherical gather, {points.shape[1]} points", lambda: volume.sample(table, points))
            bench.measure("plain twin of it", lambda: volumes.dual_sphere(six, points))


def use_plain(stack: ExitStack) -> None:
    """Replace operators, heads and lookups by their plain twins until the stack closes."""
    plain, volumes = twin("plain"), twin("plain_volumes")
    for place, name in (("layers", "modulated_conv"), ("layers", "leaky_relu"), ("backbone", "upsample")):
        stack.enter_context(mock.patch(f"spherehead.model.nets.{place}.{name}", getattr(plain, name)))
    stack.enter_context(mock.patch("spherehead.model.nets.layers.conv_downsample", plain.conv_downsample))

    def planes(self: Generator, ws: torch.Tensor, **options: Any) -> torch.Tensor:
        maps, heads = self.backbone(ws, **options), self.volume.heads
        both = []
        for head in heads:  # type: ignore[union-attr]
            inner = torch.nn.functional.conv2d(maps, head[0].matrix()[..., None, None])
            both.append(torch.nn.functional.conv2d(inner, head[1].matrix()[..., None, None]))
        return torch.stack(both, 1).unflatten(2, (3, -1))

    stack.enter_context(mock.patch.object(Generator, "planes", planes))
    stack.enter_context(mock.patch.object(DualSphere, "sample", lambda self, held, points: volumes.dual_sphere(held, points)))


def run_case(case: str, settings: ModelSettings, bench: Bench, resolution: int) -> None:
    works = {"forward": forward, "orbit": orbit, "step": step, "renderers": renderers, "operators": operators}
    work = works[case.removeprefix("plain-")]
    if not case.startswith("plain-"):
        work(bench, settings, resolution)
    elif settings.generator.volume.kind == "dual_sphere" and settings.generator.volume.spheres == "both":
        march = dataclasses.replace(settings.generator.renderer, skip_empty=False)
        compute = dataclasses.replace(settings.generator.compute, channels_last=False)
        generator = dataclasses.replace(settings.generator, renderer=march, compute=compute)
        discriminator = dataclasses.replace(settings.discriminator, channels_last=False)
        with ExitStack() as stack:
            use_plain(stack)
            work(bench, ModelSettings(generator, discriminator), resolution)
    for row in bench.rows:
        row["what"] = f"plain {row['what']}" if case.startswith("plain-") else row["what"]


def show(row: dict[str, Any]) -> None:
    numbers = f"{row['median_s']:8.3f} s ({row['min_s']:.3f} to {row['max_s']:.3f}), CPU {row['cpu_s']:6.2f} s"
    print(f"{row['what']:44} {numbers}, {row['images_s']:7.2f}/s, peak {row['peak_gib']:5.2f} GiB, load {row['load']:.1f}")
    if "parts" in row:
        print("    " + ", ".join(f"{name} {seconds:.3f}" for name, seconds in row["parts"].items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="spherehead-512")
    parser.add_argument("--set", action="append", default=[], help="change a setting, as in generator.compute.compile=true")
    parser.add_argument("--resolutions", default="64,128")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        case, resolution = arguments.one.split(",")
        torch.set_num_threads(arguments.threads)
        bench = Bench(torch.device(arguments.device), arguments.repeats)
        run_case(case, override(preset(arguments.preset), arguments.set), bench, int(resolution))
        print(json.dumps(bench.rows))
        return
    chip = platform.processor() or platform.machine()
    if arguments.device.startswith("cuda"):
        if not torch.cuda.is_available():
            parser.error(f"expected a CUDA device for --device {arguments.device}, torch {torch.__version__} sees none here")
        chip = f"{torch.cuda.get_device_name(arguments.device)}, TF32 {'on' if torch.backends.cudnn.allow_tf32 else 'off'}"
    place = f"{arguments.device} ({chip}, {arguments.threads} threads), torch {torch.__version__}"
    print(f"{arguments.preset} {arguments.set} on {place}")
    jobs = [(case, size) for case in arguments.cases.split(",") for size in arguments.resolutions.split(",")]
    failed: list[str] = []
    for case, size in jobs:
        if case in ("step", "operators", "plain-step") and size != arguments.resolutions.split(",")[0]:
            continue
        command = [sys.executable, __file__, *sys.argv[1:], "--one", f"{case},{size}"]
        pages = "0" if case.startswith("plain-") else os.environ.get("THP_MEM_ALLOC_ENABLE", "1")
        environment = {**os.environ, "THP_MEM_ALLOC_ENABLE": pages}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if done.returncode:
            print(f"{case} {size} failed: {done.stderr.strip().splitlines()[-1]}")
            failed.append(f"{case} {size}")
            continue
        for row in json.loads(done.stdout.strip().splitlines()[-1]):
            show(row)
    if failed:
        sys.exit(f"{len(failed)} of the cases failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
