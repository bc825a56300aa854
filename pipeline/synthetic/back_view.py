"""The source that fills missing views: looks at the views of the heads that were kept and renders what each bin lacks.

Named `views:` or, with settings, `views:most=500,level=3`; `build-dataset --fill-views` adds it. Which views are lacking is
arithmetic of `curation.balance`, rendering is `source`'s, and the colours of people come from `people.appearance`.

A view to add is the k-th of its bin; who is seen in it, from where exactly and under which light follow from the seed, the bin
and k alone. Whose colours the person has is told by a ring of hashes (Karger et al. 1997), so that a new photograph moves few.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...datasets.arrays import Array
from ...datasets.sample import Drop, Rights, SourceImage
from ...datasets.sources.base import Refused, SourceError
from ...manifests.config import ConfigError, canonical_json, from_plain, to_plain
from ...manifests.identity import rng, unit_interval
from ..curation.balance import BalanceSettings, bin_edges, lacking_views, view_bins
from ..recipe import Recipe
from .assets.formats import AssetError
from .assets.library import ATTRIBUTION, LICENCE, LICENCE_URL, SOURCE_URL
from .derived_source import DerivedSource, KeptHead
from .named_values import named_values
from .people.appearance import Appearance, nearest
from .people.population import Person, draw_person
from .people.settings import PopulationSettings, deciding, fingerprint_of
from .rendering.render import ON_GPU, RenderError, renderer, resolve
from .source import MakeHumanSettings, Turn, opened, person_id, render_view

SCHEME = "views:"
VERSION = 8
"""Raise it when the same settings would give other pictures."""
CANDIDATES = 48
"""People of whom the one is taken whose colours are nearest to a photograph's."""
_POINTS = 8
"""Places of each photograph on the ring."""


@dataclass(frozen=True)
class FillSettings:
    """What is rendered to fill missing views."""

    most: int = 1000
    """Pictures to render at most; the emptiest bins are filled first."""
    level: float = 0.0
    """Pictures that each bin shall show; 0 for the mean of the bins that have any."""
    views: int = 8
    """Pictures of one person, about."""
    lowest_degrees: float = -35.0
    """Least elevation of a camera; bins whose middle lies below are left as they are."""
    highest_degrees: float = 50.0
    """Largest elevation of a camera."""
    roll_degrees: float = 3.0
    """Standard deviation of the cameras' roll."""
    like_photographs: bool = True
    """Draw skin and hair from what the photographs show."""
    seed: int = 0
    """Seed of people, light and cameras."""
    size: int = 0
    """Side of the pictures in pixels; 0 for that of the recipe's crops."""
    samples: int = 30
    """Samples per pixel (spp); products of two near numbers, such as 16, 30 or 64, give the least noise."""
    background: str = ""
    """plain, gradient, blurred or cluttered; empty for all kinds."""
    variant: str = "scalar_rgb"
    """Mitsuba's variant; auto takes the fastest that runs here, and gives other noise than scalar_rgb."""
    assets: str = ""
    """Folder with MakeHuman's data; empty for SPHEREHEAD_ASSETS or the user's cache."""
    people: PopulationSettings = PopulationSettings()
    """What kinds of people there are."""

    def __post_init__(self) -> None:
        if self.most < 0 or self.level < 0 or self.views < 1:
            raise ConfigError("views: expected most and level of 0 or more, and views of 1 or more")
        if self.roll_degrees < 0.0:
            raise ConfigError(f"views: expected roll_degrees of 0 or more, got {self.roll_degrees}")
        if not -60.0 <= self.lowest_degrees < self.highest_degrees <= 80.0:
            raise ConfigError("views: expected elevations with -60 <= lowest_degrees < highest_degrees <= 80")
        self.studio(self.size or 64)

    def studio(self, size: int) -> MakeHumanSettings:
        """Return the settings under which a view is rendered.

        Raises:
            ConfigError: one of them does not fit.
        """
        return MakeHumanSettings(
            seed=self.seed, size=size, samples=self.samples, background=self.background, variant=self.variant,
            assets=self.assets, people=self.people,
        )  # fmt: skip


@dataclass(frozen=True)
class Slot:
    """One view to add."""

    bin: int
    number: int
    """Which of the views that the bin is given, from 0."""
    person: int
    """Which of the people that fill views."""


class MissingViews(DerivedSource):
    """Views that the set lacks, of rendered people."""

    def __init__(self, text: str) -> None:
        """Prepare to render; assets and Mitsuba are looked for now, so that a build fails early.

        Raises:
            ConfigError: the settings are wrong.
            SourceError: assets or Mitsuba are not there.
        """
        self.label = SCHEME.rstrip(":")
        self.settings = from_plain(FillSettings, named_values(text), self.label)
        try:
            self._fingerprint = fingerprint_of(opened(self.settings.assets), self.settings.people)
            self.settings = dataclasses.replace(self.settings, variant=resolve(self.settings.variant))
            self._renderer = renderer(self.settings.variant)
        except (AssetError, RenderError) as error:
            raise SourceError(str(error)) from error
        self.uses_gpu = self.settings.variant in ON_GPU
        told = {key: value for key, value in to_plain(self.settings).items() if key not in ("assets", "most", "level")}
        told["people"] = deciding(told["people"])
        stamp = canonical_json([VERSION, told, self._fingerprint, self._renderer])
        self._stamp = hashlib.sha256(stamp.encode()).hexdigest()[:32]

    def derived(self, kept: Sequence[KeptHead], recipe: Recipe) -> Iterator[SourceImage | Refused]:
        """Name every view to add, person after person."""
        size = self.settings.size or recipe.picture_size
        if not 64 <= size <= 2048:
            raise ConfigError(f"views: expected a size of 64 to 2048, got {size}; tell it as views:size=512")
        ring = _Ring({head.id: head.appearance for head in kept if head.appearance is not None})
        people: dict[int, tuple[Person, str]] = {}
        for slot in self.slots(kept, recipe.balance):
            if slot.person not in people:
                people = {slot.person: self._person(slot.person, ring)}
            yield self._entry(slot, *people[slot.person], size, recipe.balance)

    def slots(self, kept: Sequence[KeptHead], grid: BalanceSettings) -> list[Slot]:
        """Return the views to add, by person."""
        bins = view_bins(np.array([head.yaw for head in kept]), np.array([head.pitch for head in kept]), grid)
        order, group = self._order(grid)
        settings = self.settings
        views = lacking_views(np.bincount(bins, minlength=grid.num_bins), grid, order, settings.most, settings.level)
        num_groups = int(group.max(initial=0)) + 1
        slots = [
            Slot(int(bin), number, number * num_groups + int(group[bin]))
            for bin in np.flatnonzero(views)
            for number in range(int(views[bin]))
        ]
        return sorted(slots, key=lambda slot: (slot.person, slot.bin))

    def _order(self, grid: BalanceSettings) -> tuple[Array, Array]:
        """Return the bins that may be filled, those of one person together, and (num_bins,) the person of each in a layer.

        A person's bins lie far apart, and which they are depends on the grid alone.
        """
        _, edges = bin_edges(grid)
        middles = np.degrees(np.arcsin(0.5 * (np.sin(edges[:-1]) + np.sin(edges[1:]))))
        rows = np.flatnonzero((middles > self.settings.lowest_degrees) & (middles < self.settings.highest_degrees))
        bins = (rows[:, None] * grid.num_azimuths + np.arange(grid.num_azimuths)).ravel()
        num_groups = max(1, math.ceil(len(bins) / self.settings.views))
        group = np.zeros(grid.num_bins, dtype=np.int64)
        group[bins] = np.arange(len(bins)) % num_groups
        rank = [unit_interval(f"{self.settings.seed}/group/{number}") for number in range(num_groups)]
        return np.array(sorted(bins.tolist(), key=lambda bin: (rank[group[bin]], bin)), dtype=np.int64), group

    def _person(self, number: int, ring: _Ring) -> tuple[Person, str]:
        """Return a person, and the id of the photograph whose colours it has, empty where there is none."""
        settings = self.settings
        like = ring.at(f"{settings.seed}/{number}") if settings.like_photographs else ""
        assets, first = opened(settings.assets), number * CANDIDATES
        heads = range(first, first + (CANDIDATES if like else 1))
        people = [draw_person(assets, settings.seed, head, settings.people) for head in heads]
        return (nearest(assets, people, ring.appearances[like]) if like else people[0]), like

    def _entry(self, slot: Slot, person: Person, like: str, size: int, grid: BalanceSettings) -> SourceImage:
        rights = Rights(LICENCE, LICENCE_URL, ATTRIBUTION, SOURCE_URL, identity=person.name)
        made = {
            "step": "fill-views", "version": VERSION, "seed": self.settings.seed, "head": int(person.name.rpartition("-")[2]),
            "bin": slot.bin, "number": slot.number, "colours_of": like, "samples": self.settings.samples,
            "assets": list(person.assets), "fingerprint": self._fingerprint[:16],
        }  # fmt: skip
        beside = {kind: kind for kind in ("camera", "mask", "parsing")}
        beside |= {"id": person_id(person.name), "derivation": canonical_json(made), "renderer": self._renderer}
        beside["shot"] = json.dumps([size, slot.number * grid.num_bins + slot.bin, self._turn(slot, person.name, grid)])
        path = f"{person.name}/{slot.bin:03d}-{slot.number:04d}.png"
        return SourceImage(self.label, path, 0, self._stamp, rights, beside)

    def _turn(self, slot: Slot, name: str, grid: BalanceSettings) -> Turn:
        """Return a direction within a bin, a little away from its edges, at an elevation that is wanted."""
        random = rng(self.settings.seed, name, f"fill-{slot.bin}-{slot.number}")
        across, along = random.uniform(0.02, 0.98, 2)
        elevation, azimuth = divmod(slot.bin, grid.num_azimuths)
        yaws, pitches = bin_edges(grid)
        wanted = np.radians([self.settings.lowest_degrees, self.settings.highest_degrees])
        low, high = np.clip(pitches[elevation : elevation + 2], *wanted)
        yaw = float(yaws[azimuth] + across * (yaws[azimuth + 1] - yaws[azimuth]))
        pitch = float(np.arcsin(np.sin(low) + along * (np.sin(high) - np.sin(low))))
        return yaw, pitch, float(random.normal(0.0, math.radians(self.settings.roll_degrees)))

    def read(self, image: SourceImage) -> bytes:
        """Render one view and return it as PNG."""
        return self._members(image)["picture"]

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return the exact camera, mask or class map of a view."""
        if kind == "id":
            return image.sidecar["id"].encode()
        return self._members(image).get(kind)

    def _members(self, image: SourceImage) -> dict[str, bytes]:
        size, view, (yaw, pitch, roll) = json.loads(image.sidecar["shot"])
        name = image.path.rpartition("/")[0]
        try:
            return render_view(self.settings.studio(size), self._stamp, name, view, (yaw, pitch, roll))
        except AssetError as error:
            raise Drop("bad_asset", str(error)) from error
        except RenderError as error:
            raise Drop("render_failed", str(error)) from error


class _Ring:
    """Photographs at hashed places on a ring: a key belongs to the next one, so few move when a photograph comes or goes."""

    def __init__(self, appearances: dict[str, Appearance]) -> None:
        self.appearances = appearances
        self._places = sorted((unit_interval(f"{id}/{point}"), id) for id in appearances for point in range(_POINTS))

    def at(self, key: str) -> str:
        """Return the id of the photograph that a key belongs to, empty where there is none."""
        if not self._places:
            return ""
        return self._places[bisect.bisect(self._places, (unit_interval(key), "")) % len(self._places)][1]
