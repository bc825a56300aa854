"""One player's update on one micro-batch, in which each picture and score is made once, when the first term asks for it.

Terms read it (`term`); which of them are due, and what becomes of their sum, is left to `train`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from ..discriminator import Discriminator
from ..generator import TRANSLATION, Generator
from ..nets.persons import PersonTable, ground_colours
from ..nets.upsampler import resize
from ..portrait import Portrait
from ..volume_rendering.rays import camera_rays

Player = Literal["generator", "discriminator"]


@dataclass(frozen=True)
class ScheduleState:
    """Where a run stands: everything that its schedules decide for one update."""

    images: int = 0
    """Pictures of the data shown so far."""
    image_resolution: int = 64
    """Resolution of the final picture at present."""
    fade: float = 1.0
    """How far the newest blocks have been faded in; 1 when nothing grows."""
    neural_resolution: int = 32
    """Rays per side."""
    blur: float = 0.0
    """Standard deviation of the blur of what the discriminator sees, as a share of the picture's side."""
    density_noise: float = 0.0
    """Standard deviation of the noise on densities."""
    swap: float = 0.0
    """Probability that the generator is conditioned on another camera than the one that looks."""
    augment: float = 0.0
    """Probability of each augmentation."""


@dataclass(frozen=True)
class SamplingConfig:
    """What is drawn anew for every update."""

    style_mixing: float = 0.0
    """Probability that later layers take the styles of a second latent (Karras et al. 2019)."""
    background_swap: float = 0.0
    """Probability that the background takes another head's styles (An et al. 2023, sec. 3.4)."""
    noise: Literal["const", "random", "none"] = "random"
    """Per-pixel noise of the backbone."""


@dataclass(frozen=True)
class Views:
    """Known persons' pictures, as the generator rebuilds them."""

    rows: Tensor
    """(K,) rows of the micro-batch whose person is in the table."""
    styles: Tensor
    """(K, w_dim) style vectors of these persons."""
    made: Portrait
    """What the generator makes of these vectors and the pictures' cameras."""
    wanted: Portrait
    """The pictures."""


class Step:
    """One player's update on one micro-batch; pictures and scores are made when the first due term asks."""

    z: Tensor
    """(B, z_dim) latents."""
    camera: Tensor
    """(B, 25) cameras that the generator is seen from: the data's, in another order."""
    vectors: Tensor | None
    """(B, D) persons' vectors, where they are the generator's condition."""
    condition: Tensor | None
    """(B, condition_dim) what the generator's mapping network sees."""

    def __init__(
        self,
        player: Player,
        generator: Generator,
        discriminator: Discriminator,
        real: Portrait,
        schedule: ScheduleState,
        sampling: SamplingConfig,
        random: torch.Generator,
        *,
        subjects: Tensor | None = None,
        parsing_map: Tensor | None = None,
        augment: Callable[[Portrait, torch.Generator], Portrait] | None = None,
        wants_real_gradient: bool = False,
        networks: dict[str, nn.Module] | None = None,
        fakes: Step | None = None,
        persons: PersonTable | None = None,
        person: Tensor | None = None,
        rebuilds: bool = False,
        total: int | None = None,
    ) -> None:
        """Draw latents and cameras.

        Args:
            player: who is updated.
            generator, discriminator: the networks.
            real: the data at the present resolution, not blurred yet; the generator is seen from its cameras.
            schedule: where the run stands.
            sampling: what is drawn.
            random: source of every draw, on the networks' device.
            subjects: (B, D) vectors of the persons in `real`, where they are the generator's condition; None: the camera is.
            parsing_map: (B, R, R) classes of `real`, 255 where unknown; None where there are none.
            augment: makes of a portrait what the discriminator sees; None for no augmentation.
            wants_real_gradient: whether a due term differentiates by the data.
            networks: further networks of terms, by name.
            fakes: another player's update whose generated pictures are used, without their history, in place of new ones.
            persons: style vectors of known persons, where terms compare rebuilt views.
            person: (B,) row of each picture's person in that table; -1 where it is unknown.
            rebuilds: whether terms of this update compare views of known persons.
            total: pictures of the whole update, of all micro-batches and processes; None: this is all.
        """
        self.player, self.generator, self.discriminator, self.schedule, self.sampling = (
            player,
            generator,
            discriminator,
            schedule,
            sampling,
        )
        self.real_sharp, self.random, self.augment, self.parsing_map = real, random, augment, parsing_map
        self.wants_real_gradient, self.networks = wants_real_gradient, networks or {}
        self.batch, self.fakes = len(real.image), fakes
        self.total = self.batch if total is None else total
        self.real_vectors, self.persons, self.person, self.rebuilds = subjects, persons, person, rebuilds
        if fakes is not None:
            self.z, self.camera, self.vectors, self.condition = fakes.z, fakes.camera, fakes.vectors, fakes.condition
            return
        self.z = self._normal(self.batch, generator.settings.z_dim)
        order = torch.randperm(self.batch, generator=random, device=random.device).to(real.camera.device)
        self.camera = real.camera[order]
        self.vectors = None if subjects is None else subjects[order]
        self.condition = self._swapped(self.camera) if subjects is None else self.vectors

    # --- drawing

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random, device=self.random.device).to(self.real_sharp.camera.device)

    def uniform(self, *shape: int) -> Tensor:
        """Draw numbers in [0, 1) on the networks' device."""
        return torch.rand(*shape, generator=self.random, device=self.random.device).to(self.real_sharp.camera.device)

    def _swapped(self, camera: Tensor) -> Tensor:
        """Exchange cameras for their neighbours' with the present probability (Chan et al. 2022, sec. 4.4)."""
        swap = self.uniform(self.batch, 1) < self.schedule.swap
        return torch.where(swap, camera.roll(1, dims=0), camera)

    # --- the generator's pictures

    @cached_property
    def ws(self) -> Tensor:
        """(B, num_ws, w_dim) style vectors behind `fake`."""
        return self._styles(self.z)

    def _styles(self, z: Tensor) -> Tensor:
        generator = self.generator
        ws = generator.styles(z, self.condition)
        if self.player == "generator":
            generator.mapping.track(ws[:, 0])
        if self.sampling.style_mixing > 0:
            second = generator.styles(self._normal(*z.shape), self.condition)
            cut = torch.randint(1, generator.num_ws, (self.batch, 1, 1), generator=self.random, device=self.random.device)
            mixes = self.uniform(self.batch, 1, 1) < self.sampling.style_mixing
            later = torch.arange(generator.num_ws, device=ws.device)[None, :, None] >= cut.to(ws.device)
            ws = torch.where(mixes & later, second, ws)
        return ws

    @cached_property
    def shift(self) -> Tensor | None:
        """(B, 3) learned shift of each camera; None where the generator learns none."""
        if self.generator.camera_shift is None:
            return None
        return self.seen_from[:, list(TRANSLATION)] - self.camera[:, list(TRANSLATION)]

    @cached_property
    def seen_from(self) -> Tensor:
        """(B, 25) cameras after the learned shift."""
        return self.generator.shifted(self.z, self.camera)

    @cached_property
    def planes(self) -> Tensor:
        """The volume's planes behind `fake`."""
        return self.generator.planes(self.ws, noise=self.sampling.noise, random=self.random)

    @cached_property
    def fake(self) -> Portrait:
        """The generator's pictures; without a history in the discriminator's update."""
        if self.fakes is not None:
            return self.fakes.fake.detach()
        with torch.set_grad_enabled(self.player == "generator"):
            generator, ws, schedule = self.generator, self.ws, self.schedule
            behind = None
            if self.sampling.background_swap > 0:
                swap = self.uniform(self.batch, 1, 1) < self.sampling.background_swap
                behind = torch.where(swap, ws.roll(1, dims=0), ws)
            origins, _ = camera_rays(self.camera, schedule.neural_resolution)
            randomness = generator.renderer.draw(origins, self.random, schedule.density_noise)
            portrait = generator.synthesise(
                ws, self.seen_from, planes=self.planes, background_ws=behind, neural_resolution=schedule.neural_resolution,
                noise=self.sampling.noise, random=self.random, randomness=randomness,
                image_resolution=schedule.image_resolution, fade=schedule.fade,
            )  # fmt: skip
        return dataclasses.replace(portrait, camera=self.camera)  # discriminators know the camera that was asked for

    # --- known persons

    @cached_property
    def views(self) -> Views:
        """Views of known persons, rebuilt from their vectors, each before its picture's own ground.

        Raises:
            ValueError: the step has no table of persons.
        """
        if self.persons is None or self.person is None:
            raise ValueError("expected a table of known persons; train with --warm-start views, or leave out terms of views")
        generator, schedule, real = self.generator, self.schedule, self.real_sharp
        rows = (self.person >= 0).nonzero().squeeze(1)
        wanted = real.chosen(rows)
        styles = self.persons.styles[self.person[rows]]
        if not len(rows):
            return Views(rows, styles, wanted, wanted)
        ws = styles[:, None].expand(-1, generator.num_ws, -1)
        if generator.settings.own_ground:
            mask = torch.zeros_like(wanted.image[:, :1]) if wanted.mask is None else wanted.mask
            ground = self.persons.to_ground(ground_colours(wanted.image, mask))
            ws = torch.cat([ws[:, :-1], ground[:, None]], dim=1)
        origins, _ = camera_rays(wanted.camera, schedule.neural_resolution)
        randomness = generator.renderer.draw(origins, self.random, schedule.density_noise)
        made = generator.synthesise(
            ws, wanted.camera, neural_resolution=schedule.neural_resolution, noise=self.sampling.noise, random=self.random,
            randomness=randomness, image_resolution=schedule.image_resolution, fade=schedule.fade,
        )  # fmt: skip
        return Views(rows, styles, made, wanted)

    # --- what the discriminator sees

    @cached_property
    def real(self) -> Portrait:
        """The data as it is to be matched at this moment: grown and blurred like what is generated."""
        real = self.real_sharp
        image, raw = real.image, real.raw
        if self.schedule.fade < 1.0:
            wanted = self.schedule.image_resolution
            image = resize(resize(image, wanted // 2), wanted).lerp(image, self.schedule.fade)
        return dataclasses.replace(real, image=blurred(image, self.schedule.blur), raw=blurred(raw, self.schedule.blur))

    @cached_property
    def real_seen(self) -> Portrait:
        """The data as the discriminator sees it; with a gradient where a due term asks for one."""
        seen = self.real if self.augment is None else self.augment(self.real, self.random)
        if not self.wants_real_gradient:
            return seen
        changes = {}
        for name in ("image", "raw", "mask", "parsing"):
            part = getattr(seen, name)
            if part is not None:
                changes[name] = part.detach().clone().requires_grad_(True)
        return dataclasses.replace(seen, **changes)

    @cached_property
    def fake_seen(self) -> Portrait:
        """The generator's pictures as the discriminator sees them."""
        fake = dataclasses.replace(self.fake, image=blurred(self.fake.image, self.schedule.blur))
        return fake if self.augment is None else self.augment(fake, self.random)

    def label(self, camera: Tensor, vectors: Tensor | None) -> Tensor:
        """Return the discriminator's condition: the camera, and the person's vector where there is one."""
        return camera if vectors is None else torch.cat([camera, vectors], dim=1)

    @cached_property
    def real_activations(self) -> list[list[Tensor]]:
        """What each block of the discriminator makes of the data."""
        return self.discriminator.activations(self.real_seen, self.schedule.fade)

    @cached_property
    def fake_activations(self) -> list[list[Tensor]]:
        """What each block of the discriminator makes of generated pictures."""
        return self.discriminator.activations(self.fake_seen, self.schedule.fade)

    @cached_property
    def real_features(self) -> Tensor:
        """(B, F) what the discriminator makes of the data before it sees a label."""
        return self.discriminator.summary(self.real_activations)

    @cached_property
    def fake_features(self) -> Tensor:
        """(B, F) what the discriminator makes of generated pictures before it sees a label."""
        return self.discriminator.summary(self.fake_activations)

    @cached_property
    def real_score(self) -> Tensor:
        """(B, 1) scores of the data with their own labels."""
        return self.discriminator.score(self.real_features, self.label(self.real_seen.camera, self.real_vectors))

    @cached_property
    def fake_score(self) -> Tensor:
        """(B, 1) scores of generated pictures with the cameras that were asked for."""
        return self.discriminator.score(self.fake_features, self.label(self.fake_seen.camera, self.vectors))


def blurred(picture: Tensor, share: float) -> Tensor:
    """Blur (B, C, H, W) pictures with a Gaussian, reflecting at the border; unchanged below a hundredth of a pixel.

    Args:
        picture: any pictures.
        share: standard deviation of the Gaussian as a share of the side.
    """
    sigma = share * picture.shape[-1]
    if sigma < 0.01:
        return picture
    radius = min(int(3.0 * sigma + 0.5), picture.shape[-1] - 1)
    taps = torch.arange(-radius, radius + 1, dtype=picture.dtype, device=picture.device)
    kernel = torch.exp(-0.5 * (taps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = picture.shape[1]
    padded = nn.functional.pad(picture, [radius] * 4, mode="reflect")
    rows = nn.functional.conv2d(padded, kernel.view(1, 1, 1, -1).repeat(channels, 1, 1, 1), groups=channels)
    return nn.functional.conv2d(rows, kernel.view(1, 1, -1, 1).repeat(channels, 1, 1, 1), groups=channels)
