"""Errors on a device: against the published numbers, of precisions and layouts against fp32, and NCCL with one process.

`python tests/gpu/checks.py reference|precision|surface|nccl cuda` prints JSON; `run.py` calls it with a limit of time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
SHARED = (os.environ.get("SPHEREHEAD_SHARED", ""), str(ROOT / "shared"), str(ROOT.parent / "shared"))


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the relative L2 error."""
    return float((got.double().cpu() - wanted.double().cpu()).norm() / wanted.double().cpu().norm())


def reference(device: torch.device) -> dict[str, Any]:
    """Convert the published reference networks, run them here, and compare, without TF32 and with it."""
    import published
    from spherehead.model.interop.convert import convert
    from spherehead.model.store import load_discriminator, load_generator
    from spherehead.model.volume_rendering.ray_marching import Randomness

    shared = next((Path(place) for place in SHARED if place and (Path(place) / "reference").is_dir()), None)
    if shared is None:
        return {"skipped": "no reference numbers; set SPHEREHEAD_SHARED"}
    found: dict[str, Any] = {}
    for name in ("eg3d", "panohead", "spherehead", "hyplanehead"):
        arrays = published.reference(shared, name)
        with tempfile.TemporaryDirectory() as folder:
            path = published.write(Path(folder) / "a.pkl", published.snapshot(arrays))
            convert(path, Path(folder) / "model")
            generator = load_generator(Path(folder) / "model").to(device)
            judge = load_discriminator(Path(folder) / "model").to(device)
        z, camera, fine = (torch.from_numpy(arrays[key]).float().to(device) for key in ("in.z", "in.c", "in.importance_u"))
        for tf32 in (False, True):
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
            with torch.no_grad():
                ws = generator.styles(z, camera, psi=0.7)
                portrait = generator.synthesise(
                    ws, generator.shifted(z, camera), randomness=Randomness(fine=fine.view(2, 1024, -1))
                )
                logits = judge(portrait, camera)
            errors = {"image": error(portrait.image, torch.from_numpy(arrays["out.image"])),
                      "raw": error(portrait.raw, torch.from_numpy(arrays["out.image_raw"])),
                      "logits": error(logits, torch.from_numpy(arrays["out.logits"]))}  # fmt: skip
            found[f"{name}{', TF32' if tf32 else ''}"] = errors
    worst = max(value for key, errors in found.items() if "TF32" not in key for value in errors.values())
    return {"errors": found, "worst_fp32": worst, "met": worst < 1e-4}


def precision(device: torch.device) -> dict[str, Any]:
    """Compare ways to compute with fp32: picture and gradient of the weights, same weights and latents."""
    from spherehead.datasets.camera import Camera
    from spherehead.model.generator import Generator
    from spherehead.model.presets import preset

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    name = "small-128" if device.type == "cuda" else "tiny-64"
    settings = preset(name).generator
    torch.manual_seed(0)
    first = Generator(settings).state_dict()
    z = torch.randn(2, settings.z_dim, generator=torch.Generator().manual_seed(1)).to(device)
    label = torch.from_numpy(Camera.look_at(0.4, 0.1).label()).float()[None].repeat(2, 1).to(device)

    def result(**compute: Any) -> tuple[torch.Tensor, torch.Tensor]:
        changed = dataclasses.replace(settings, compute=dataclasses.replace(settings.compute, **compute))
        generator = Generator(changed)
        generator.load_state_dict(first)
        generator.to(device)
        if changed.compute.channels_last:
            generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = generator(z, label).image
        image.float().square().mean().backward()
        grads = [parameter.grad.reshape(-1).float() for parameter in generator.parameters() if parameter.grad is not None]
        return image.detach(), torch.cat(grads)

    wanted = result(channels_last=False)
    found = {}
    for title, compute in (
        ("channels_last", {"channels_last": True}),
        ("bf16 upsampler", {"upsampler_precision": "bf16"}),
        ("bf16", {"upsampler_precision": "bf16", "backbone_precision": "bf16"}),
        ("modulation activations", {"modulation": "activations"}),
        ("modulation weights", {"modulation": "weights"}),
    ):
        image, gradient = result(**compute)
        found[title] = {"image": error(image, wanted[0]), "gradient": error(gradient, wanted[1])}
    return {"preset": name, "errors": found}


def surface(device: torch.device) -> dict[str, Any]:
    """Draw an egg's mesh with gradients here and on the CPU: the same faces, pictures and slopes within roundings."""
    from spherehead.datasets.camera import Camera
    from spherehead.model.volume_rendering.surfaces.antialias import outlines
    from spherehead.model.volume_rendering.surfaces.marching import marching_tetrahedra
    from spherehead.model.volume_rendering.surfaces.rasterise import project, rasterise
    from spherehead.model.volume_rendering.surfaces.tetrahedra import body_centred_grid

    found: dict[str, list[torch.Tensor]] = {}
    for place in (torch.device("cpu"), device):
        grid = body_centred_grid(36, str(place))
        distances = (0.3 - (grid.vertices / grid.vertices.new_tensor([0.8, 1.1, 0.9])).norm(dim=1)).requires_grad_()
        mesh, label = marching_tetrahedra(grid, distances), torch.as_tensor(Camera.look_at(0.4, 0.1).label())[None].to(place)
        screen = project(mesh, label, 128)
        fragments = rasterise(screen, 1)
        places = fragments.blend(mesh.vertices, mesh.faces)
        picture = places.new_zeros(128 * 128, 3).index_copy(0, fragments.pixel, places + 1.0)
        picture = outlines(mesh, screen, fragments, label).apply(picture)
        (slope,) = torch.autograd.grad(picture.square().sum(), distances)
        found[str(place)] = [fragments.face.double(), picture.detach(), slope]
    (faces, picture, slope), *rest = found.values()
    other = rest[0] if rest else [faces, picture, slope]
    same = bool(torch.equal(faces, other[0].cpu()))
    errors = {"picture": error(other[1], picture), "slope": error(other[2], slope)}
    return {"faces": same, "errors": errors, "met": same and max(errors.values()) < 1e-4}


def nccl(device: torch.device) -> dict[str, Any]:
    """Exchange numbers in a group of one process over NCCL (gloo on a CPU): every collective of training gives what it got."""
    from spherehead.model.train.distributed import World
    from torch import nn

    with tempfile.TemporaryDirectory() as folder:
        backend = "nccl" if device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=f"file://{folder}/group", rank=0, world_size=1)
        world = World(0, 2, device)  # of size 2, so that it exchanges at all
        module = nn.Linear(500, 300).to(device)
        module(torch.randn(4, 500, device=device)).square().sum().backward()
        assert module.weight.grad is not None
        before = module.weight.grad.clone()
        world.share(module)
        world.sum_gradients(module)
        same = bool(torch.equal(module.weight.grad, before)) and world.same(5) and world.any(True) and not world.any(False)
        world.wait()
        world.close()
    return {"backend": backend, "met": same}


def main() -> None:
    """Run one part."""
    part, device = sys.argv[1], torch.device(sys.argv[2])
    print(json.dumps({"reference": reference, "precision": precision, "surface": surface, "nccl": nccl}[part](device)))


if __name__ == "__main__":
    main()
