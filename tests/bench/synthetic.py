"""Times of rendered heads: making a person, the exact pass, the preview, Mitsuba, a whole picture, and a bare ball beside
them, which is the least that Mitsuba takes on the machine at hand; medians and spread.

Run: python tests/bench/synthetic.py ASSETS --heads 5
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from spherehead.datasets.camera import Camera
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.denoise import denoise
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.rendering.exposure import window_of
from spherehead.pipeline.synthetic.rendering.light import SKY, draw_light
from spherehead.pipeline.synthetic.rendering.preview import preview
from spherehead.pipeline.synthetic.rendering.render import FINISHES, MAX_DEPTH, Studio, mitsuba, renderer
from spherehead.pipeline.synthetic.source import MakeHumanSettings, shoot


def bare_ball(variant: str, size: int, samples: int) -> np.ndarray:
    """Render the least that a head can be: a ball as large as one, without texture, hair, lamp or anything in its hollows."""
    mi = mitsuba(variant)
    look = {"type": "principled", "base_color": {"type": "rgb", "value": [0.6, 0.45, 0.4]}, **FINISHES["skin"]}
    sky = np.random.default_rng(0).random((*SKY, 3)).astype(np.float32)
    film = {"type": "hdrfilm", "width": size, "height": size, "pixel_format": "rgba", "rfilter": {"type": "box"}}
    scene = mi.load_dict(
        {
            "type": "scene",
            "integrator": {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 3, "hide_emitters": True},
            "sensor": {
                "type": "perspective", "fov": 18.8, "film": film, "sampler": {"type": "independent", "sample_count": samples},
                "to_world": mi.ScalarTransform4f().look_at([0, 0, 2.7], [0, 0, 0], [0, 1, 0]),
            },
            "sky": {"type": "envmap", "bitmap": mi.Bitmap(sky)},
            "ball": {"type": "sphere", "radius": 0.36, "bsdf": look},
        }
    )  # fmt: skip
    return np.array(mi.render(scene, spp=samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets", type=Path)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--variant", default="scalar_rgb")
    options = parser.parse_args()
    started = time.perf_counter()
    assets = open_assets(options.assets)
    print(f"{renderer(options.variant)}; assets opened in {time.perf_counter() - started:.2f} s")
    wall: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], object], warm_up: bool = False) -> object:
        clock, used = time.perf_counter(), time.process_time()
        result = work()
        if not warm_up:
            wall.setdefault(name, []).append(time.perf_counter() - clock)
            cpu.setdefault(name, []).append(time.process_time() - used)
        return result

    for head in range(options.heads + 1):
        first = head == 0
        figure = timed("person", lambda head=head: build_figure(assets, draw_person(assets, 1, head)), first)
        drawing = timed("meshes laid out", lambda figure=figure: Drawing(figure), first)
        studio = timed("handed to Mitsuba", lambda figure=figure: Studio(figure, options.variant), first)
        for yaw in (0.4, 2.6):
            camera, light = Camera.look_at(yaw, 0.1), draw_light(rng(1, str(head), str(yaw)))
            for size, samples in ((256, 16), (512, 32)):
                timed(f"exact pass {size}", lambda c=camera, s=size, d=drawing: look(d, c, s), first)
                timed(f"preview {size}", lambda c=camera, s=size, d=drawing: preview(d, c, s), first)
                seen = look(drawing, camera, size, with_albedo=True)
                window = window_of(seen.mask)
                shot = timed(
                    f"Mitsuba {size} px, {samples} samples",
                    lambda c=camera, s=size, n=samples, t=studio, lit=light, w=window: t.photograph(c, lit, s, n, 0, w),
                    first,
                )
                timed(f"denoise {size}", lambda p=shot, v=seen: denoise(p, v), first)
                settings = MakeHumanSettings(seed=1, size=size, samples=samples, variant=options.variant)
                timed(
                    f"whole picture {size}",
                    lambda c=camera, t=studio, d=drawing, f=figure, all=settings: shoot(all, f, t, d, c, 0),
                    first,
                )
    for size, samples in ((256, 16), (512, 32)):
        for _ in range(2 * options.heads):
            timed(f"a bare ball {size}", lambda s=size, n=samples: bare_ball(options.variant, s, n))
    for name in wall:
        spread = np.percentile(wall[name], [10, 90])
        middle = statistics.median(wall[name])
        print(f"{name:28s} median {middle:6.3f} s ({spread[0]:.3f}-{spread[1]:.3f}), CPU {statistics.median(cpu[name]):6.3f} s")


if __name__ == "__main__":
    main()
