"""People who wear something, and the class maps of what one sees of them."""

from __future__ import annotations

import dataclasses

import numpy as np
from spherehead.datasets.arrays import Pixels
from spherehead.datasets.camera import Camera
from spherehead.pipeline.synthetic.assets.library import Assets
from spherehead.pipeline.synthetic.hair.look import Growth
from spherehead.pipeline.synthetic.hair.scalp import Surface
from spherehead.pipeline.synthetic.hair.styles import draw_hair
from spherehead.pipeline.synthetic.people.figure import Figure, body_of, build_figure
from spherehead.pipeline.synthetic.people.growth import surface_of
from spherehead.pipeline.synthetic.people.placement import place
from spherehead.pipeline.synthetic.people.population import draw_person
from spherehead.pipeline.synthetic.people.settings import GROWN, PopulationSettings
from spherehead.pipeline.synthetic.rendering.exact_pass import Drawing, look
from spherehead.pipeline.synthetic.wear.look import HeadWear, Wear
from spherehead.pipeline.synthetic.wear.wardrobe import draw_head_wear, under

SETTINGS = PopulationSettings(hair=GROWN, glasses=0.0)


def dressed(assets: Assets, kind: str, style: str, seed: int = 1, worn: HeadWear | None = None) -> Figure:
    """Somebody with a hair style and a piece of head-wear, which is drawn where none is given."""
    person = dataclasses.replace(draw_person(assets, 3, 0, SETTINGS), expression={})
    random = np.random.default_rng(seed)
    head = worn or draw_head_wear(kind, random)
    hair = under(draw_hair(0.5, 0.3, 0.5, (0.2, 0.1, 0.1), 0.0, random, (style,)), head)
    growth = Growth(dataclasses.replace(hair, count=4000))
    return build_figure(assets, dataclasses.replace(person, growth=growth, scalp="covered", wear=Wear(head)))


def bare_surface(assets: Assets) -> Surface:
    """The head of somebody with nothing around it."""
    body, person = body_of(assets), draw_person(assets, 3, 0)
    vertices = body.morph(person.shape)
    return surface_of(body, vertices, place(vertices), (np.zeros((0, 3)), np.zeros((0, 3))))


def classes(figure: Figure, yaw: float, size: int = 128) -> Pixels:
    """The class map from an azimuth."""
    return look(Drawing(figure), Camera.look_at(yaw, 0.0, 0.0), size).parsing
