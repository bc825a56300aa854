"""The generator: a latent and a camera to a portrait of a head, by whichever volume its settings name.

It puts the parts together and knows no method by name; training terms, checkpoints and videos are left to their folders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import torch
from torch import nn

from ..manifests.config import check_ranges
from .nets.backbone import StyleMaps, SynthesisNetwork, SynthesisSettings
from .nets.background import Background, BackgroundSettings
from .nets.decoder import Decoder, DecoderSettings
from .nets.layers import DTYPES, Noise, Precision, ToMap, check_clamp
from .nets.mapping import FilmMapping, FilmMappingSettings, Mapping, MappingSettings, spread
from .nets.parsing import ParsingHead, ParsingSettings
from .nets.persons import GROUND_LATENTS, GaussianStyles
from .nets.upsampler import Upsampler, UpsamplerSettings
from .ops.modulation import Modulation
from .portrait import Portrait
from .volume_rendering import MarchSettings, RendererSettings
from .volume_rendering.base import Randomness, Renderer, Scene
from .volume_rendering.rays import LABEL_SIZE, Rays, check_labels
from .volume_rendering.splats.gaussians import Gaussians
from .volume_rendering.surfaces.marching import Meshes
from .volumes import VolumeSettings
from .volumes.base import Volume

TRANSLATION = (3, 7, 11)
"""Entries of the label that hold the camera's position."""


@dataclass(frozen=True)
class ComputeSettings:
    """How the same numbers are worked out; none of these changes a parameter."""

    backbone_precision: Precision = "fp32"
    """Precision of the convolutions of backbone and background; their sums stay in fp32."""
    upsampler_precision: Precision = "fp32"
    """Precision of the convolutions of the super-resolution."""
    channels_last: bool = True
    """Keep channels next to each other in memory; faster on CPU and on tensor cores."""
    compile: Literal["off", "inductor", "aot_eager"] = "off"
    """Backend of torch.compile for backbone, background and super-resolution; slow at the first call of each shape."""
    modulation: Modulation = "auto"
    """Where styles are applied (see `ops.modulation`)."""


@dataclass(frozen=True)
class GeneratorSettings:
    """Everything that decides a generator's parameters and pictures."""

    volume: VolumeSettings
    """How features lie in space: EG3D, PanoHead, SphereHead and HyPlaneHead differ here."""
    z_dim: int = 512
    """Numbers of a latent."""
    w_dim: int = 512
    """Numbers of a style vector."""
    condition_dim: int = LABEL_SIZE
    """Numbers of the condition that the mapping network sees: the camera label, or any other vector; 0 for none."""
    condition_scale: float = 1.0
    """Factor on the condition; 0 hides it from the mapping network."""
    neural_resolution: int = 64
    """Rays per side of the raw picture, unless the caller says otherwise."""
    mapping: MappingSettings = field(default_factory=MappingSettings)
    """Mapping network."""
    film_mapping: FilmMappingSettings = field(default_factory=FilmMappingSettings)
    """Mapping network of volumes that are made of style vectors."""
    styles: Literal["mapping", "gaussian"] = "mapping"
    """Where style vectors come from: the mapping network, or a Gaussian fitted to a table of known persons."""
    backbone: SynthesisSettings = field(default_factory=SynthesisSettings)
    """Widths of the network that makes the planes."""
    decoder: DecoderSettings = field(default_factory=DecoderSettings)
    """Features to density and colour features."""
    renderer: RendererSettings = field(default_factory=MarchSettings)
    """How rays become pixels: by a march through the volume, or another of `volume_rendering`."""
    background: BackgroundSettings | None = field(default_factory=BackgroundSettings)
    """Network behind the head; null leaves black."""
    raw: Literal["first_three", "modulated"] = "modulated"
    """Raw picture: the first three features (EG3D) or a modulated layer (PanoHead and its successors)."""
    upsampler: UpsamplerSettings = field(default_factory=UpsamplerSettings)
    """Super-resolution."""
    parsing: ParsingSettings | None = None
    """Head for semantic classes (SphereHead), or null."""
    camera_shift: bool = True
    """Learn a small shift of the camera from latent and label (PanoHead's self-adaptive camera)."""
    camera_shift_scale: float = 1.0
    """Factor on the label that the learned shift sees; 0 hides it. Published generators give it what their mapping network
    sees: the label times `c_scale`, or zeros under `c_gen_conditioning_zero`; `convert` sets it so."""
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    """How the numbers are worked out."""

    def __post_init__(self) -> None:
        check_ranges(self, z_dim=(0, 65_536), w_dim=(1, 65_536), condition_dim=(0, 65_536), neural_resolution=(1, 4096))
        check_ranges(self, condition_scale=(-1e6, 1e6), camera_shift_scale=(-1e6, 1e6))
        check_clamp(self.compute.backbone_precision, self.backbone.clamp, "backbone.clamp")
        check_clamp(self.compute.upsampler_precision, self.upsampler.clamp, "upsampler.clamp")
        if self.background is not None:
            check_clamp(self.compute.backbone_precision, self.background.synthesis.clamp, "background.synthesis.clamp")
        if self.own_ground and self.styles != "gaussian":
            raise ValueError(
                "background.own_style needs styles=gaussian: a mapping network gives grounds no vector of their own"
            )

    @property
    def own_ground(self) -> bool:
        """Whether the background has a style vector of its own, the last of a head's."""
        return self.background is not None and self.background.own_style


class Generator(nn.Module):
    """Latents (B, z_dim) and cameras (B, 25) to portraits."""

    def __init__(self, settings: GeneratorSettings) -> None:
        super().__init__()
        self.settings = settings
        how, w_dim = settings.compute.modulation, settings.w_dim
        self.volume: Volume = settings.volume.open()
        channels, height, width = self.volume.plane_shape
        if height != width:
            raise ValueError(f"expected a volume with square planes, got {height} x {width}")
        if settings.volume.styled and w_dim != channels:
            raise ValueError(f"the volume is made of style vectors of {channels} numbers: set w_dim={channels}, got {w_dim}")
        self.mapping = self._mapping(settings)
        self.backbone = (
            StyleMaps() if settings.volume.styled else SynthesisNetwork(height, channels, w_dim, settings.backbone, how)
        )
        self.decoder = Decoder(self.volume.num_features, settings.decoder)
        num_features = settings.decoder.features
        self.background = Background(num_features, w_dim, settings.background, how) if settings.background else None
        self.to_raw = ToMap(num_features, 3, w_dim, modulation=how) if settings.raw == "modulated" else None
        parsing = settings.parsing
        self.parsing = ParsingHead(num_features, w_dim, parsing, settings.neural_resolution, how) if parsing else None
        self.upsampler = Upsampler(
            num_features,
            w_dim,
            settings.upsampler,
            guide_channels=parsing.guide_channels if parsing else 0,
            guide_blocks=parsing.feedback if parsing else (),
            modulation=how,
        )
        shift = MappingSettings(layers=2, lr_multiplier=1.0)
        self.camera_shift = (
            Mapping(settings.z_dim, LABEL_SIZE, 3, shift, linear_end=True, keeps_mean=False) if settings.camera_shift else None
        )
        self.renderer: Renderer = settings.renderer.open(self.volume)
        self.num_ws = self.backbone.num_ws + int(settings.own_ground)
        self._apply_compute(settings.compute)

    @staticmethod
    def _mapping(settings: GeneratorSettings) -> Mapping | FilmMapping | GaussianStyles:
        if settings.styles == "gaussian":
            return GaussianStyles(settings.z_dim, settings.w_dim, GROUND_LATENTS if settings.own_ground else 0)
        if settings.volume.styled:
            return FilmMapping(settings.z_dim, settings.w_dim, settings.film_mapping)
        return Mapping(settings.z_dim, settings.condition_dim, settings.w_dim, settings.mapping)

    def forward(
        self,
        z: torch.Tensor,
        camera: torch.Tensor,
        condition: torch.Tensor | None = None,
        *,
        psi: float = 1.0,
        cutoff: int | None = None,
        neural_resolution: int | None = None,
        noise: Noise = "const",
        random: torch.Generator | None = None,
    ) -> Portrait:
        """Make one portrait a latent, seen by the learned shift of its camera.

        Args:
            z: (B, z_dim) latents, normal.
            camera: (B, 25) labels to render.
            condition: (B, condition_dim) what the mapping network sees; None for `camera`.
            psi: truncation; 1 for none.
            cutoff: number of truncated layers; None for all.
            neural_resolution: rays per side; None for the settings'.
            noise: per-pixel noise of the backbone.
            random: source of drawn noise and of jitter along rays; None renders deterministically.
        """
        ws = self.styles(z, camera if condition is None else condition, psi=psi, cutoff=cutoff)
        shifted = self.shifted(z, camera)
        return self.synthesise(ws, shifted, neural_resolution=neural_resolution, noise=noise, random=random)

    def styles(
        self, z: torch.Tensor, condition: torch.Tensor | None, *, psi: float = 1.0, cutoff: int | None = None
    ) -> torch.Tensor:
        """Map latents to (B, num_ws, w_dim) style vectors, truncated towards the running mean."""
        if condition is not None:
            condition = condition * self.settings.condition_scale
        ws = spread(self.mapping(z, condition), self.backbone.num_ws, self.mapping.w_mean, psi, cutoff)
        if self.settings.own_ground and isinstance(self.mapping, GaussianStyles):
            ws = torch.cat([ws, self.mapping.ground(z)[:, None]], dim=1)
        return ws

    def shifted(self, z: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        """Return the (B, 25) cameras moved by the learned shift; unchanged if there is none (An et al. 2023, sec. 3.3)."""
        if self.camera_shift is None:
            return camera
        index = torch.tensor(TRANSLATION, device=camera.device)
        shift = self.camera_shift(z, camera * self.settings.camera_shift_scale)
        return camera.index_add(1, index, shift.to(camera.dtype))

    def planes(self, ws: torch.Tensor, *, noise: Noise = "const", random: torch.Generator | None = None) -> torch.Tensor:
        """Return the volume's planes for style vectors: what an orbit around one head keeps.

        Linear heads of the volume are folded into the backbone's own last layers: the same function of the same parameters,
        with the same gradients, in another order of work.
        """
        self._check_styles(ws)
        mix = self.volume.mixing()
        return self.volume.arrange(self.backbone(ws, noise=noise, random=random, mix=mix))

    def field(
        self, planes: torch.Tensor, points: torch.Tensor, directions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, N, F) features and (B, N, 1) raw densities at world points (B, N, 3); see `base.Field`."""
        features, density = self.decoder(self.volume.sample_along(planes, points, directions))
        return features, density

    def scene(self, planes: torch.Tensor) -> Scene:
        """Return heads as renderers read them."""
        return Scene(planes, partial(self.volume.sample, planes), partial(self.field, planes))

    def solid(self, planes: torch.Tensor, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return features and raw densities of what is shown at world points (B, N, 3); see `Renderer.solid`."""
        return self.renderer.solid(self.scene(planes), points)

    def mesh(self, planes: torch.Tensor) -> Meshes | None:
        """Return the meshes of heads whose renderer draws meshes; None for others."""
        return self.renderer.mesh(self.scene(planes))

    def splats(self, planes: torch.Tensor) -> tuple[Gaussians, torch.Tensor] | None:
        """Return the Gaussians of heads whose renderer draws Gaussians, and their (N, F) features; None for others."""
        return self.renderer.splats(self.scene(planes))

    def synthesise(
        self,
        ws: torch.Tensor,
        camera: torch.Tensor,
        *,
        planes: torch.Tensor | None = None,
        background_ws: torch.Tensor | None = None,
        neural_resolution: int | None = None,
        noise: Noise = "const",
        random: torch.Generator | None = None,
        density_noise: float = 0.0,
        randomness: Randomness | None = None,
        image_resolution: int | None = None,
        fade: float = 1.0,
    ) -> Portrait:
        """Render style vectors from cameras.

        Args:
            ws: (B, num_ws, w_dim) style vectors.
            camera: (B, 25) labels, used as they are.
            planes: what `planes` returned for these ws, to spare the backbone.
            background_ws: (B, num_ws, w_dim) style vectors of the background; None for `ws`.
            neural_resolution: rays per side; None for the settings'.
            noise: per-pixel noise of backbone and background.
            random: source of drawn noise and jitter; None renders deterministically.
            density_noise: standard deviation of noise on densities, for the start of training; needs `random`.
            randomness: the renderer's numbers themselves, instead of drawing them.
            image_resolution, fade: resolution of the final picture while the networks grow, and how far they have; see
                `Upsampler`.

        Raises:
            LabelError: cameras do not fit the contract or the batch.
            ValueError: style vectors do not fit.
        """
        self._check_styles(ws)
        check_labels(camera, batch=len(ws))
        resolution = self.settings.neural_resolution if neural_resolution is None else neural_resolution
        planes = self.planes(ws, noise=noise, random=random) if planes is None else planes
        rays = Rays.cast(camera.float(), resolution)
        if randomness is None and random is not None:
            randomness = self.renderer.draw(rays.origins, random, density_noise)
        seen = self.renderer(self.scene(planes), rays, randomness)
        features, depth, weight = (_picture(part, resolution) for part in (seen.features, seen.depth, seen.weight))
        features = self.decoder.composed(features)
        if self.background is not None:
            behind = ws if background_ws is None else background_ws
            self._check_styles(behind, len(ws))
            behind = behind[:, -1:] if self.settings.own_ground else behind
            features = features + (1.0 - weight) * self.background(behind, resolution, noise, random)
        w = ws[:, self.backbone.num_ws - 1]
        raw = features[:, :3] if self.to_raw is None else self.to_raw(features, w)
        parsing, guide = (None, None) if self.parsing is None else self.parsing(features, w)
        image = self.upsampler(features, raw, w, guide, random, image_resolution, fade)
        return Portrait(image, raw, camera, weight * 1.002 - 0.001, parsing, depth, features, seen.penalties)

    def _check_styles(self, ws: torch.Tensor, batch: int | None = None) -> None:
        expected = ("B" if batch is None else batch, self.num_ws, self.settings.w_dim)
        if ws.dim() != 3 or tuple(ws.shape[1:]) != expected[1:] or len(ws) != (batch or len(ws)):
            raise ValueError(f"expected style vectors of shape ({', '.join(map(str, expected))}), got {tuple(ws.shape)}")
        if not ws.isfinite().all():
            raise ValueError("expected finite style vectors, got NaN or infinity")

    def _apply_compute(self, compute: ComputeSettings) -> None:
        """Set precision, memory layout and compilation of the parts."""
        self.backbone.dtype = DTYPES[compute.backbone_precision]
        self.upsampler.dtype = DTYPES[compute.upsampler_precision]
        if self.background is not None:
            self.background.network.dtype = DTYPES[compute.backbone_precision]
        if compute.channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if compute.compile != "off":
            for part in (self.backbone, self.upsampler, self.background):
                if part is not None:
                    part.compile(backend=compute.compile)


def _picture(rays: torch.Tensor, resolution: int) -> torch.Tensor:
    """Lay (B, M, C) values of rays out as a (B, C, r, r) picture."""
    out: torch.Tensor = rays.transpose(1, 2).unflatten(2, (resolution, resolution))
    return out
