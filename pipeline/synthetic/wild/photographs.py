"""One photograph of a set, from its number alone: cast, composition, light, ground, camera and every label.

A set's people come in casts of a few who share photographs; which shard a photograph is packed into is `writer`'s business.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....datasets.sample import Rights
from ....datasets.shards.photographs import Photograph, photograph_members
from ....manifests.config import canonical_json
from ....manifests.identity import content_sha256, rng, sample_id
from ..assets.library import ATTRIBUTION, LICENCE, LICENCE_URL, SOURCE_URL, Assets
from ..people.population import draw_person
from ..rendering.exposure import LINEAR
from ..rendering.light import draw_light
from ..source import MakeHumanSettings
from .backgrounds import draw_ground
from .camera_chain import expose_and_store
from .layout import draw_layout
from .people import Sitter, sitter_of
from .scene import draw_scene

CAST = 6
"""People who share photographs, and who stay in one split."""
VERSION = 8
"""Raise it when the same settings would give other photographs."""


@dataclass(frozen=True)
class Taken:
    """A photograph as it is packed."""

    id: str
    members: dict[str, bytes]
    """All members but the JSON."""
    row: dict[str, Any]
    """The manifest's row, without what the whole set decides."""
    heads: list[dict[str, Any]]
    """The heads as plain data, for the JSON."""


def cast_of(settings: MakeHumanSettings, assets: Assets, number: int) -> list[Sitter]:
    """Make the people of a cast ready.

    Raises:
        AssetError: an asset that one of them needs is damaged or missing.
    """
    first = settings.first + number * CAST
    heads = range(first, min(first + CAST, settings.first + settings.count))
    return [sitter_of(assets, draw_person(assets, settings.seed, head, settings.people)) for head in heads]


def take(settings: MakeHumanSettings, cast: list[Sitter], number: int, lead: int, view: int, fingerprint: str) -> Taken:
    """Take one photograph.

    Args:
        settings: of the set.
        cast: the people of the cast.
        number: which cast it is.
        lead: which of them is in it for certain.
        view: which of that person's photographs it is.
        fingerprint: of the assets.
    """
    name = cast[lead].name
    photo, picture = compose(settings, cast, lead, view)
    members = photograph_members(photo, picture)
    sha256 = content_sha256(picture)
    made = {
        "step": "makehuman", "framing": "wild", "version": VERSION, "seed": settings.seed, "person": name, "view": view,
        "light": settings.light, "people": [head.person for head in photo.heads], "fingerprint": fingerprint[:16],
    }  # fmt: skip
    rights = Rights(LICENCE, LICENCE_URL, ATTRIBUTION, SOURCE_URL, group=f"cast-{settings.seed}-{number:06d}")
    row = {
        "id": sample_id(sha256), "sha256": sha256, "head_index": 0, "num_heads": len(photo.heads), "image_sha256": sha256,
        "pixel_sha256": hashlib.sha256(np.ascontiguousarray(photo.image).data).hexdigest(), "width": settings.size,
        "height": settings.size, "format": "jpeg", "derivation": canonical_json(made),
        **{key: value for key, value in vars(rights).items() if value},
    }  # fmt: skip
    return Taken(row["id"], members, row, [head.to_plain() for head in photo.heads])


def compose(settings: MakeHumanSettings, cast: list[Sitter], lead: int, view: int) -> tuple[Photograph, bytes]:
    """Return a photograph with its labels, and its picture as JPEG."""
    name, size = cast[lead].name, settings.size

    def chance(step: str) -> np.random.Generator:
        return rng(settings.seed, name, f"wild-{step}-{view}")

    places = draw_layout(chance("layout"), size, lead, len(cast))
    scene = draw_scene(cast, places, draw_light(chance("light")), size, chance("occluder"))
    ground = LINEAR[draw_ground(chance("ground"), size)].astype(np.float32)
    light = scene.light + scene.ground[..., None] * ground
    image, picture = expose_and_store(light, chance("camera"))
    mask, *alphas = (np.rint(255.0 * np.clip(part, 0.0, 1.0)).astype(np.uint8) for part in (scene.cover, *scene.alphas))
    return Photograph(image, mask, scene.parsing, scene.who, scene.depth, tuple(alphas), scene.heads), picture
