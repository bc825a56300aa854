"""Rendered people as a source of a build: every view is a picture whose camera, mask and class map are known exactly.

Named on the command line as `makehuman:count=500,views=8,seed=1`. A view is rendered where it is read, in the worker, so that
building is parallel and resumes after a stop like any other source; its bytes depend on the settings and the assets alone.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.arrays import Array, Pixels
from ...datasets.camera import Camera
from ...datasets.depth import encode_depth
from ...datasets.sample import Drop, Rights, SourceImage
from ...datasets.shards.codec import Encoding, camera_json, encode_grey, encode_image
from ...datasets.sources.base import Refused, Source, SourceError
from ...manifests.config import ConfigError, canonical_json, from_plain, to_plain
from ...manifests.identity import rng
from .assets.formats import AssetError
from .assets.library import ATTRIBUTION, LICENCE, LICENCE_URL, SOURCE_URL, Assets, open_assets
from .named_values import named_values
from .people.figure import Figure, build_figure
from .people.population import draw_person
from .people.settings import PopulationSettings, deciding, fingerprint_of
from .rendering.denoise import denoise
from .rendering.exact_pass import SUPERSAMPLING, Drawing, labels_of, look_with_guide
from .rendering.exposure import develop, expose, metered_gain, window_of
from .rendering.light import KINDS, Light, draw_background, draw_light
from .rendering.oidn import clean, oidn_version
from .rendering.render import CHOICES, ON_GPU, VARIANTS, RenderError, Studio, renderer, resolve
from .shading.deferred import photograph
from .shading.surfaces import Surfaces, surfaces_of

SCHEME = "makehuman:"
Turn = tuple[float, float, float]
"""Yaw, pitch and roll of a camera in radians."""
VERSION = 13
"""Raise it when the same settings would give other pictures."""
OWN, OIDN = "own", "oidn"
DENOISERS = (OWN, OIDN)
PATHS, RASTER = "paths", "raster"
LIGHTS = (PATHS, RASTER)
"""How pictures are lit."""
PER_VIEW, PER_PERSON = "view", "person"
LIGHTINGS = (PER_VIEW, PER_PERSON)
"""How long light lasts."""
CANONICAL, WILD = "canonical", "wild"
FRAMINGS = (CANONICAL, WILD)
"""How heads lie in pictures."""
RASTER_VERSION = 8
"""Raise it when raster light would give other pictures."""


@dataclass(frozen=True)
class MakeHumanSettings:
    """What is rendered, as told after `makehuman:`."""

    count: int = 100
    """Heads."""
    views: int = 8
    """Pictures of each head, spread evenly around it."""
    seed: int = 0
    """Seed of people, light and cameras."""
    first: int = 0
    """Number of the first head: later sets can begin where an earlier one ended."""
    size: int = 512
    """Side of the pictures in pixels."""
    samples: int = 30
    """Samples per pixel (spp); products of two near numbers, such as 16, 30 or 64, give the least noise."""
    pitch_degrees: float = 12.0
    """Standard deviation of the cameras' elevation."""
    roll_degrees: float = 3.0
    """Standard deviation of the cameras' roll."""
    fronts_per_back: float = 0.0
    """As photographs of the web are spread: this many views within 60 degrees of the front for each beyond 120; 0 spreads
    views evenly all round."""
    background: str = ""
    """plain, gradient, blurred or cluttered; empty for all kinds."""
    variant: str = "scalar_rgb"
    """Mitsuba's variant; auto takes the fastest that runs here, and gives other noise than scalar_rgb."""
    denoiser: str = OWN
    """What takes noise out of traced pictures: own, or oidn (mitsuba-oidn), with which 6 samples do what 16 do without."""
    light: str = PATHS
    """paths traces light with Mitsuba; raster shades the z-buffer in a fraction of a second, without samples and noise."""
    lighting: str = PER_VIEW
    """view draws light and exposure for every picture; person keeps both for all views of a person, as on a rig."""
    depth: bool = False
    """Keep exact depth maps too."""
    framing: str = CANONICAL
    """canonical crops of one head each, or wild: whole photographs, which `render-photographs` writes."""
    assets: str = ""
    """Folder with MakeHuman's data; empty for SPHEREHEAD_ASSETS or the user's cache."""
    people: PopulationSettings = PopulationSettings()
    """What kinds of people there are."""

    def __post_init__(self) -> None:
        if self.count < 1 or self.views < 1 or self.first < 0 or self.samples < 1 or not 64 <= self.size <= 2048:
            raise ConfigError("makehuman: expected count, views and samples of 1 or more, first of 0 or more, size 64 to 2048")
        for name in ("fronts_per_back", "pitch_degrees", "roll_degrees"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"makehuman: expected {name} of 0 or more, got {getattr(self, name)}")
        for name, choices in (
            ("variant", CHOICES), ("denoiser", DENOISERS), ("light", LIGHTS), ("lighting", LIGHTINGS), ("framing", FRAMINGS),
        ):  # fmt: skip
            if getattr(self, name) not in choices:
                raise ConfigError(f"makehuman: expected a {name} of {', '.join(choices)}, got {getattr(self, name)!r}")
        if self.framing == WILD and (self.light != RASTER or self.lighting != PER_VIEW):
            raise ConfigError("makehuman: framing=wild is lit by light=raster, anew in every photograph; leave out lighting")
        if self.denoiser == OIDN and self.light == RASTER:
            raise ConfigError("makehuman: light=raster has no noise to clean; leave out denoiser=oidn, or take light=paths")
        if self.background and self.background not in KINDS:
            raise ConfigError(f"makehuman: expected a background of {', '.join(KINDS)}, got {self.background!r}")


def parse(text: str) -> MakeHumanSettings:
    """Read `makehuman:count=500,views=8,people.glasses=0.5`.

    Raises:
        ConfigError: an unknown setting (with a suggestion) or a value that does not fit.
    """
    return from_plain(MakeHumanSettings, named_values(text), SCHEME.rstrip(":"))


LATER = {"light": PATHS, "lighting": PER_VIEW, "framing": CANONICAL, "denoiser": OWN, "depth": False}
"""Settings that sets of earlier versions did not tell, and what they meant."""


class MakeHumanSource(Source):
    """People drawn by number, each seen from all around."""

    def __init__(self, text: str) -> None:
        """Prepare to render what a text asks for; assets and Mitsuba are looked for now, so that a build fails early.

        Raises:
            ConfigError: the settings are wrong.
            SourceError: assets or Mitsuba are not there.
        """
        self.label = "makehuman"
        self.settings = parse(text)
        if self.settings.framing == WILD:
            raise ConfigError("makehuman: photographs of framing=wild show several heads; write them with render-photographs")
        try:
            self._fingerprint = fingerprint_of(self._assets(), self.settings.people)
            self.settings, self._renderer = with_renderer(self.settings)
        except (AssetError, RenderError) as error:
            raise SourceError(str(error)) from error
        self.uses_gpu = self.settings.variant in ON_GPU
        told = decisive(self.settings)
        stamp = canonical_json([VERSION, told, self._fingerprint, self._renderer])
        self._stamp = hashlib.sha256(stamp.encode()).hexdigest()[:32]

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every view of every head, in order."""
        settings = self.settings
        for head in range(settings.first, settings.first + settings.count):
            person = draw_person(self._assets(), settings.seed, head, settings.people)
            rights = Rights(LICENCE, LICENCE_URL, ATTRIBUTION, SOURCE_URL, identity=person.name)
            for view in range(settings.views):
                made = {
                    "step": "makehuman", "version": VERSION, "seed": settings.seed, "head": head, "view": view,
                    **({"samples": settings.samples} if settings.light == PATHS else {"light": settings.light}),
                    "assets": list(person.assets), "fingerprint": self._fingerprint[:16],
                }  # fmt: skip
                beside = {kind: kind for kind in ("camera", "mask", "parsing", *(("depth",) if settings.depth else ()))}
                beside |= {"id": person_id(person.name), "derivation": canonical_json(made), "renderer": self._renderer}
                yield SourceImage(self.label, f"{person.name}/{view:03d}.png", 0, self._stamp, rights, beside)

    def read(self, image: SourceImage) -> bytes:
        """Render one view and return it as PNG."""
        return self._members(image)["picture"]

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the exact camera, mask, class map or depth map of a view."""
        if kind == "id":
            return image.sidecar["id"].encode()
        return self._members(image).get(kind)

    def _members(self, image: SourceImage) -> dict[str, bytes]:
        name, _, view = image.path.rpartition("/")
        number = int(view.removesuffix(".png"))
        try:
            return render_view(self.settings, self._stamp, name, number, turn_of(self.settings, name, number))
        except AssetError as error:
            raise Drop("bad_asset", str(error)) from error
        except RenderError as error:
            raise Drop("render_failed", str(error)) from error

    def _assets(self) -> Assets:
        return opened(self.settings.assets)


def with_renderer(settings: MakeHumanSettings) -> tuple[MakeHumanSettings, str]:
    """Return settings with the variant that is used here, and the renderer's name and version.

    Raises:
        RenderError: Mitsuba is wanted and not there.
    """
    if settings.light == RASTER:
        return dataclasses.replace(settings, variant=VARIANTS[0], samples=1), f"spherehead {RASTER} {RASTER_VERSION}"
    settings = dataclasses.replace(settings, variant=resolve(settings.variant))
    return settings, renderer(settings.variant) + (f", {oidn_version()}" if settings.denoiser == OIDN else "")


def decisive(settings: MakeHumanSettings) -> dict[str, Any]:
    """Return what of the settings decides the pictures, as plain data; what came later is left out where it changes nothing."""
    told = {key: value for key, value in to_plain(settings).items() if key not in ("assets", "count")}
    told["people"] = deciding(told["people"])
    return {key: value for key, value in told.items() if key not in LATER or value != LATER[key]}


def person_id(name: str) -> str:
    """Return the 16-hex id that all views of a person have as parent."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def turn_of(settings: MakeHumanSettings, name: str, view: int) -> Turn:
    """Return where a view is seen from: evenly spaced azimuths from a random start, with jitter in all three angles."""
    start = float(rng(settings.seed, name, "start").random())
    random = rng(settings.seed, name, f"camera-{view}")
    share = (view + start + float(random.uniform(-0.25, 0.25))) / settings.views
    yaw = math.remainder(2.0 * math.pi * share, 2.0 * math.pi)
    if settings.fronts_per_back:
        behind = rng(settings.seed, name, f"behind-{view}").random() * (settings.fronts_per_back + 1.0) < 1.0
        yaw = math.remainder(yaw / 3.0 + (math.pi if behind else 0.0), 2.0 * math.pi)
    pitch = float(np.clip(random.normal(0.03, math.radians(settings.pitch_degrees)), math.radians(-35), math.radians(50)))
    roll = float(random.normal(0.0, math.radians(settings.roll_degrees)))
    return yaw, pitch, roll


@dataclass(frozen=True, eq=False)
class Shot:
    """One rendered picture with its exact labels."""

    image: Pixels
    """(S, S, 3) sRGB."""
    mask: Pixels
    parsing: Pixels
    camera: Camera
    depth: Array
    """(S, S) distance along the optical axis; infinity where there is nothing."""


def shoot(
    settings: MakeHumanSettings,
    figure: Figure,
    studio: Studio | Surfaces,
    drawing: Drawing,
    camera: Camera,
    view: int,
    background: Pixels | None = None,
) -> Shot:
    """Render one view of a figure under light of its own, before a background that is drawn too where none is given."""
    name = figure.person.name
    steady = settings.lighting == PER_PERSON
    light = draw_light(rng(settings.seed, name, "light" if steady else f"light-{view}"), steady)
    if background is None:
        background = draw_background(rng(settings.seed, name, f"background-{view}"), settings.size, settings.background)
    if isinstance(studio, Surfaces):
        return _shaded(studio, drawing, camera, light, background)
    seen, guide = look_with_guide(drawing, camera, settings.size)
    seed = int(rng(settings.seed, name, f"sampler-{view}").integers(1 << 31))
    picture = studio.photograph(camera, light, settings.size, settings.samples, seed, window_of(seen.mask))
    if settings.denoiser == OIDN:
        gain = light.gain(camera.position / camera.radius)
        exposed = clean(picture, guide, gain)
        exposed[..., :3] *= np.float32(metered_gain(exposed, light, camera))
    else:
        exposed = denoise(expose(picture, camera, light), guide, math.sqrt(16.0 / settings.samples))
    return Shot(develop(exposed, background), seen.mask, seen.parsing, camera, seen.depth)


def _shaded(surfaces: Surfaces, drawing: Drawing, camera: Camera, light: Light, background: Pixels) -> Shot:
    """Take a picture by raster light; its labels come from the same buffers."""
    seen = drawing.see(camera, background.shape[0] * SUPERSAMPLING, with_clear=False)
    picture = photograph(surfaces, seen, camera, light, SUPERSAMPLING)
    view = labels_of(drawing, drawing.see_clear(seen, camera) if drawing.has_clear else seen, SUPERSAMPLING)
    picture[..., :3] *= np.float32(metered_gain(picture, light, camera))
    return Shot(develop(picture, background), view.mask, view.parsing, camera, view.depth)


@lru_cache(maxsize=4)
def opened(folder: str) -> Assets:
    """Return the assets in a folder, or where they are looked for when none is named; opened once."""
    return open_assets(Path(folder) if folder else None)


@lru_cache(maxsize=2)
def _ready(settings: MakeHumanSettings, head: int) -> tuple[Figure, Studio | Surfaces, Drawing]:
    """Keep the last people of this process ready, for their other views."""
    assets = opened(settings.assets)
    figure = build_figure(assets, draw_person(assets, settings.seed, head, settings.people), settings.size)
    drawing = Drawing(figure)
    return figure, surfaces_of(drawing) if settings.light == RASTER else Studio(figure, settings.variant), drawing


@lru_cache(maxsize=2)
def render_view(settings: MakeHumanSettings, stamp: str, name: str, view: int, turn: Turn) -> dict[str, bytes]:
    """Return the files of a view of a person by name; a picture is asked for several times in a row.

    Raises:
        AssetError: an asset that the person needs is damaged or missing.
        RenderError: Mitsuba gave no usable picture.
    """
    figure, studio, drawing = _ready(settings, int(name.rpartition("-")[2]))
    shot = shoot(settings, figure, studio, drawing, Camera.look_at(*turn), view)
    return {
        "picture": encode_image(shot.image, Encoding("png")),
        "mask": encode_grey(shot.mask),
        "parsing": encode_grey(shot.parsing),
        "camera": camera_json(shot.camera),
        **({"depth": encode_depth(shot.depth)} if settings.depth else {}),
    }
