"""Render drawn people without light into shards that annotator networks are trained on: colours, normals and every exact label.

A view is the surfaces' own colours; light is laid on it where it is read (`model.annotators.shown.relighting`), anew each time.
Believable light is `rendering.render`'s business, and sets of it can be trained on too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...datasets.arrays import Array, Pixels
from ...datasets.camera import Camera
from ...datasets.images.colour_space import linear_to_srgb
from ...datasets.shards.codec import BEARD, Encoding, camera_json, encode_grey, encode_image
from ...datasets.shards.tar import write_shard
from ...datasets.tar_members import walk_file
from ...manifests.config import ConfigError, canonical_json, to_plain
from ...manifests.identity import rng
from ...manifests.store import writing
from ..annotators.faces.landmarks import MESH_INDEX
from ..execution.processes import in_processes
from .assets.library import Assets, open_assets
from .people.figure import Figure, body_of, build_figure
from .people.placement import face_vertices
from .people.population import Person, draw_person, person_name
from .people.settings import PopulationSettings, deciding, fingerprint_of
from .rendering.exact_pass import GROWTH, Drawing, View, look_with_guide

SIDES = (math.radians(55.0), math.radians(125.0))
"""Range of azimuths, to the left or to the right, of views that show a side."""
STEEP = (math.radians(-75.0), math.radians(80.0))
"""Range of elevations of views from far below and far above."""
VERSION = 7
"""Raise it when the same settings would give other views."""
RESUMED = (6,)
"""Versions whose sets are resumed: their views lack only a member, `beard.png`, and nothing is learned of it from them."""


@dataclass(frozen=True)
class TrainingViews:
    """What is rendered."""

    count: int = 1000
    """Heads."""
    views: int = 8
    """Pictures of each head."""
    seed: int = 0
    """Seed of people and cameras."""
    first: int = 0
    """Number of the first head."""
    size: int = 192
    """Side of the pictures in pixels."""
    field: float = 1.56
    """Sides of the canonical crop that a picture is wide: room for loose and shifted crops."""
    supersampling: int = 2
    """Samples per pixel along each axis."""
    pitch_degrees: float = 18.0
    """Standard deviation of the cameras' elevation."""
    heads_per_shard: int = 50
    """Heads whose views share a shard."""
    sides: float = 0.0
    """Share of the views, beside those that fall there anyway, that are turned to a side: `SIDES` of azimuth."""
    steep: float = 0.0
    """Share of the views whose elevation is drawn evenly over the part of the sphere that `STEEP` bounds."""
    people: PopulationSettings = PopulationSettings(bald=0.08, hats=0.08)
    """What kinds of people there are."""

    def __post_init__(self) -> None:
        if min(self.count, self.views, self.heads_per_shard, self.supersampling) < 1 or self.first < 0 or self.size < 32:
            raise ConfigError("training views: expected count, views and heads_per_shard of 1 or more and size of 32 or more")
        if self.field < 1.0:
            raise ConfigError(f"training views: expected a field of 1 or more canonical crops, got {self.field}")
        if self.pitch_degrees < 0.0:
            raise ConfigError(f"training views: expected pitch_degrees of 0 or more, got {self.pitch_degrees}")
        for name, share in (("sides", self.sides), ("steep views", self.steep)):
            if not 0.0 <= share <= 1.0:
                raise ConfigError(f"training views: expected a share of {name} from 0 to 1, got {share}")


def cameras_of(settings: TrainingViews, name: str) -> list[Camera]:
    """Return the cameras of a person: azimuths spread evenly from a random start, elevations drawn, no roll, a wide field.

    Where the settings say so, some views are turned to a side and some are seen from far above or below; neither changes other
    views.
    """
    random, turned = rng(settings.seed, name, "training-views"), rng(settings.seed, name, "training-views-sides")
    tilted = rng(settings.seed, name, "training-views-steep")
    start = float(random.random())
    wide = np.diag([1.0 / settings.field, 1.0 / settings.field, 1.0])
    found = []
    for view in range(settings.views):
        share = (view + start + float(random.uniform(-0.35, 0.35))) / settings.views
        yaw = math.remainder(2.0 * math.pi * share, 2.0 * math.pi)
        if turned.random() < settings.sides:
            yaw = float(turned.choice((-1.0, 1.0)) * turned.uniform(*SIDES))
        pitch = float(np.clip(random.normal(0.03, math.radians(settings.pitch_degrees)), math.radians(-50), math.radians(65)))
        if tilted.random() < settings.steep:
            pitch = math.asin(tilted.uniform(*np.sin(STEEP)))  # even over the sphere, not over the angle
        camera = Camera.look_at(yaw, pitch)
        intrinsics = wide @ camera.intrinsics
        intrinsics[:2, 2] = 0.5
        found.append(replace(camera, intrinsics=intrinsics))
    return found


def face_points(assets: Assets, figure: Figure) -> Array:
    """Return the (68, 3) iBUG points of a person in the head frame, expression included."""
    person = figure.person
    moved = body_of(assets).morph({**person.shape, **person.expression})
    return figure.placement.apply(moved[face_vertices()])[list(MESH_INDEX)].astype(np.float32)


def beard_of(view: View) -> Pixels:
    """Return (S, S) 255 where the hair of a view's classes is beard, skin between its strands included, and 0 elsewhere.

    Without strands all hair is MakeHuman's cards, none of which is a beard.
    """
    if view.growth is None:
        return np.zeros_like(view.parsing)
    return np.where(view.growth == GROWTH.index("beard"), np.uint8(255), np.uint8(0))


def members_of(view: View, guide: View, camera: Camera, points: Array, person: Person) -> dict[str, bytes]:
    """Encode a view: colours, normals, coverage, classes, where hair is beard, camera and the face's points."""
    assert guide.albedo is not None
    colour = np.clip(np.round(255.0 * linear_to_srgb(guide.albedo)), 0, 255).astype(np.uint8)
    normals = np.clip(np.round(127.5 * (guide.normals + 1.0)), 0, 255).astype(np.uint8)
    record = {"person": person.name, "hair": person.hair, "hat": person.hat, "relight": True, "version": VERSION}
    return {
        "jpg": encode_image(colour, Encoding("jpg", 95)),
        "normal.jpg": encode_image(normals, Encoding("jpg", 95)),
        "mask.png": encode_grey(view.mask),
        "seg.png": encode_grey(view.parsing),
        BEARD: encode_grey(beard_of(view)),
        "cam.json": camera_json(camera),
        "points.json": json.dumps(np.round(points, 5).astype(float).tolist()).encode(),
        "json": canonical_json(record).encode(),
    }


def views_of(assets: Assets, settings: TrainingViews, head: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Render the views of one person as (key, members)."""
    person = draw_person(assets, settings.seed, head, settings.people)
    figure = build_figure(assets, person)
    drawing, points = Drawing(figure), face_points(assets, figure)
    for number, camera in enumerate(cameras_of(settings, person.name)):
        view, guide = look_with_guide(drawing, camera, settings.size, settings.supersampling)
        yield f"{person.name}-{number:02d}", members_of(view, guide, camera, points, person)


def render_views(assets: Assets, settings: TrainingViews, out: Path, workers: int = 1) -> int:
    """Write the shards of a set; shards that are there whole are kept, so that a stopped run resumes and a set can grow.

    Args:
        assets: what people are made of.
        settings: what is rendered.
        out: folder of the set; the settings are written beside the shards.
        workers: processes; the bytes are the same whatever their number.

    Returns:
        How many shards were written.

    Raises:
        ConfigError: the folder holds a set of other settings.
    """
    out.mkdir(parents=True, exist_ok=True)
    plain = to_plain(replace(settings, count=1))
    plain["people"] = deciding(plain["people"])  # sets of before there was grown hair resume too
    if not settings.sides:
        plain.pop("sides")  # and those of before sides could be preferred
    if not settings.steep:
        plain.pop("steep")
    plain["assets"] = fingerprint_of(assets, settings.people)
    stamps = [canonical_json({"version": version, **plain}) for version in (VERSION, *RESUMED)]
    told = out / "training-views.json"
    if told.is_file() and told.read_text(encoding="utf-8") not in stamps:
        raise ConfigError(f"{out} holds views of other settings; choose another folder")
    with writing(told) as file:
        file.write(stamps[0].encode())
    starts = range(settings.first, settings.first + settings.count, settings.heads_per_shard)
    missing = [start for start in starts if not _is_whole(settings, out, start)]
    return sum(1 for _ in in_processes(partial(_write, assets.root, settings, out), missing, workers))


def _is_whole(settings: TrainingViews, out: Path, start: int) -> bool:
    """Tell whether a shard is there with its last head: the last shard of a smaller set lacks the heads that came later."""
    path = out / f"views-{start:06d}.tar"
    if not path.is_file():
        return False
    last = f"{person_name(settings.seed, _heads(settings, start)[-1])}-"
    with path.open("rb") as file:
        return any(member.name.startswith(last) for member in walk_file(file))


def _heads(settings: TrainingViews, start: int) -> range:
    """Return the numbers of the heads whose views share the shard that begins with `start`."""
    return range(start, min(start + settings.heads_per_shard, settings.first + settings.count))


def _write(root: Path, settings: TrainingViews, out: Path, start: int) -> None:
    """Write the shard whose first head has the number `start`."""
    assets = open_assets(root)
    items = (item for head in _heads(settings, start) for item in views_of(assets, settings, head))
    write_shard(out / f"views-{start:06d}.tar", "train", items)
