"""Error and CPU time of path-traced pictures by samples a pixel and denoiser, against a picture of many samples; medians.

Errors are mean absolute differences in 8-bit levels over the head; times are CPU seconds of a whole picture without its person.

Run: python tests/bench/denoisers.py ASSETS --size 256 --heads 3 --reference 256
"""

from __future__ import annotations

import argparse
import dataclasses
import time

import cv2
import numpy as np
from spherehead.datasets.arrays import Pixels
from spherehead.datasets.camera import Camera
from spherehead.manifests.identity import rng
from spherehead.pipeline.synthetic.people.figure import build_figure
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing
from spherehead.pipeline.synthetic.rendering.exposure import develop, metered_gain
from spherehead.pipeline.synthetic.rendering.light import draw_background, draw_light
from spherehead.pipeline.synthetic.rendering.render import Studio
from spherehead.pipeline.synthetic.source import MakeHumanSettings, opened, shoot, turn_of


def uncleaned(settings: MakeHumanSettings, name: str, studio: Studio, camera: Camera, view: int) -> Pixels:
    """Return what `shoot` takes, but with all its light and noise: no cleaner and no specks taken out."""
    light = draw_light(rng(settings.seed, name, f"light-{view}"))
    background = draw_background(rng(settings.seed, name, f"background-{view}"), settings.size)
    picture = studio.photograph(camera, light, settings.size, settings.samples, 1)
    picture[..., :3] *= np.float32(metered_gain(picture, light, camera))
    return develop(picture, background)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("assets")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--heads", type=int, default=3)
    parser.add_argument("--own", type=int, default=16)
    parser.add_argument("--samples", default="2,4,6,8")
    parser.add_argument("--reference", type=int, default=256)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    plain = MakeHumanSettings(seed=1, size=options.size, assets=options.assets)
    ways = {f"own, {options.own} samples": dataclasses.replace(plain, samples=options.own)}
    for samples in map(int, options.samples.split(",")):
        ways[f"oidn, {samples} samples"] = dataclasses.replace(plain, samples=samples, denoiser="oidn")
    errors: dict[str, list[float]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for head in range(options.heads + 1):
        figure = build_figure(opened(options.assets), draw_person(opened(options.assets), 1, head))
        studio, drawing = Studio(figure), Drawing(figure)
        camera = Camera.look_at(*turn_of(plain, figure.person.name, head))
        if head == 0:  # warm
            for settings in ways.values():
                shoot(dataclasses.replace(settings, samples=1), figure, studio, drawing, camera, head)
            continue
        many = uncleaned(dataclasses.replace(plain, samples=options.reference), figure.person.name, studio, camera, head)
        for name, settings in ways.items():
            started = time.process_time()
            shot = shoot(settings, figure, studio, drawing, camera, head)
            seconds[name].append(time.process_time() - started)
            difference = np.abs(shot.image.astype(int) - many.astype(int))
            errors[name].append(float(difference[shot.mask > 200].mean()))
    for name in ways:
        told = " ".join(f"{error:.2f}" for error in errors[name])
        print(f"{name:18s} error {np.median(errors[name]):5.2f} ({told}), CPU {np.median(seconds[name]):5.2f} s")


if __name__ == "__main__":
    main()
