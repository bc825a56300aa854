"""Named settings of generator and discriminator: the published systems, their ablations and two sizes for small machines.

A method is a set of values here; a preset names its published training recipe, which is left to `train.recipes`.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..datasets.camera import RADIUS
from ..manifests.config import ConfigError
from .discriminator import DiscriminatorSettings
from .generator import GeneratorSettings
from .nets.backbone import SynthesisSettings
from .nets.background import BackgroundSettings
from .nets.decoder import DecoderSettings
from .nets.parsing import ParsingSettings
from .nets.upsampler import UpsamplerSettings
from .volume_rendering import ManifoldSettings, MarchSettings, RendererSettings, SplatSettings, SurfaceRendererSettings
from .volume_rendering.surfaces.shape import ShapeSettings
from .volumes import DualSphereSettings, FilmSirenSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings


@dataclass(frozen=True)
class ModelSettings:
    """A generator and the discriminator that judges it."""

    generator: GeneratorSettings
    """The generator."""
    discriminator: DiscriminatorSettings
    """The discriminator."""

    def __post_init__(self) -> None:
        made, judged = self.generator.upsampler.resolution, self.discriminator.resolution
        if made != judged:
            raise ConfigError(f"expected generator and discriminator of one resolution, got {made} and {judged}")
        parsing = self.generator.parsing.channels if self.generator.parsing else 0
        if self.discriminator.parsing_channels not in (0, parsing):
            raise ConfigError(
                f"the discriminator sees {self.discriminator.parsing_channels} parsing channels, the generator makes {parsing}"
            )


def spherehead_512() -> ModelSettings:
    """SphereHead (Li et al. 2024): two spheres, background, parsing head, discriminator of pictures, mask and parsing."""
    parsing = ParsingSettings()
    generator = GeneratorSettings(volume=DualSphereSettings(), parsing=parsing)
    return ModelSettings(generator, DiscriminatorSettings(parsing_channels=parsing.channels))


def panohead_512() -> ModelSettings:
    """PanoHead (An et al. 2023): tri-grid of depth 3, background, discriminator of pictures and mask."""
    return ModelSettings(GeneratorSettings(volume=TriGridSettings()), DiscriminatorSettings())


def eg3d_512() -> ModelSettings:
    """EG3D (Chan et al. 2022) as published, with its XZ plane twice; no background, discriminator of pictures only."""
    generator = GeneratorSettings(
        volume=TriPlaneSettings(axes="xy_xz_zx"),
        decoder=DecoderSettings(activation="sigmoid"),
        renderer=MarchSettings(crop=None),
        background=None,
        raw="first_three",
        camera_shift=False,
    )
    return ModelSettings(generator, DiscriminatorSettings(mask=False))


def hyplanehead_512() -> ModelSettings:
    """HyPlaneHead (NeurIPS 2025): three planes and a near-equal-area sphere cut evenly from one map."""
    return ModelSettings(GeneratorSettings(volume=HyPlaneSettings()), DiscriminatorSettings())


def get3d_512() -> ModelSettings:
    """GET3D (Gao et al. 2022) for heads: a surface from half the features of a tri-plane, discriminators of picture and mask.

    Published are a mapping network and planes of their own for shape and texture, a colour at every pixel of the picture and
    no background; here one latent makes both, and super-resolution and background are those of the other systems.
    """
    generator = GeneratorSettings(
        volume=TriPlaneSettings(axes="xy_xz_yz", num_features=64),
        decoder=DecoderSettings(hidden=32, features=16),
        renderer=SurfaceRendererSettings(shape=ShapeSettings(features=32)),
        neural_resolution=128,
        camera_shift=False,
    )
    return ModelSettings(generator, DiscriminatorSettings(mask=False, silhouette=True))


def small_128() -> ModelSettings:
    """SphereHead at 128 pixels for one small GPU: planes of 128, half the widths, 32 + 32 samples."""
    parsing = ParsingSettings()
    generator = GeneratorSettings(
        volume=DualSphereSettings(resolution=128, in_channels=256, head_channels=128),
        z_dim=256,
        w_dim=256,
        neural_resolution=64,
        backbone=SynthesisSettings(channel_base=8192, channel_max=256),
        renderer=MarchSettings(coarse_samples=32, fine_samples=32),
        background=BackgroundSettings(64, SynthesisSettings(channel_base=2048, channel_max=128)),
        parsing=parsing,
        upsampler=UpsamplerSettings(input_resolution=64, channels=(128, 64), doubles=(False, True)),
    )
    discriminator = DiscriminatorSettings(
        resolution=128, parsing_channels=parsing.channels, widths=SynthesisSettings(channel_base=8192, channel_max=256)
    )
    return ModelSettings(generator, discriminator)


def tiny_64() -> ModelSettings:
    """SphereHead at 64 pixels for one CPU: planes of 64, an eighth of the widths, 16 + 16 samples."""
    parsing = ParsingSettings()
    generator = GeneratorSettings(
        volume=DualSphereSettings(resolution=64, num_features=16, in_channels=64, head_channels=32),
        z_dim=128,
        w_dim=128,
        neural_resolution=32,
        backbone=SynthesisSettings(channel_base=2048, channel_max=64),
        decoder=DecoderSettings(hidden=32, features=16),
        renderer=MarchSettings(coarse_samples=16, fine_samples=16),
        background=BackgroundSettings(32, SynthesisSettings(channel_base=512, channel_max=32)),
        parsing=parsing,
        upsampler=UpsamplerSettings(input_resolution=32, channels=(32, 32), doubles=(False, True)),
    )
    discriminator = DiscriminatorSettings(
        resolution=64, parsing_channels=parsing.channels, widths=SynthesisSettings(channel_base=2048, channel_max=64)
    )
    return ModelSettings(generator, discriminator)


def tiny_128() -> ModelSettings:
    """tiny-64 at 128 pixels: planes of 128, 64 rays a side; all of tiny-64's weights fit (`--init tiny-64`)."""
    settings = tiny_64()
    generator = dataclasses.replace(
        settings.generator,
        volume=DualSphereSettings(resolution=128, num_features=16, in_channels=64, head_channels=32),
        neural_resolution=64,
        upsampler=dataclasses.replace(settings.generator.upsampler, input_resolution=64),
    )
    return ModelSettings(generator, dataclasses.replace(settings.discriminator, resolution=128))


def with_volume(settings: ModelSettings, **changes: Any) -> ModelSettings:
    """Return the settings with another volume, or with fields of the present one changed, and nothing else touched.

    Args:
        settings: a model.
        changes: `volume` for another one, or fields of the present volume's settings.
    """
    volume = changes.pop("volume", settings.generator.volume)
    volume = dataclasses.replace(volume, **changes)
    return dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, volume=volume))


def gram_256() -> ModelSettings:
    """GRAM (Deng et al. 2022), FFHQ at 256: a FiLM-SIREN on 23 level sets and a plane, a discriminator that estimates the pose.

    As published in world units of its camera at distance 1, here at 2.7: for faces from the front, not whole heads.
    """
    scale = RADIUS
    volume = FilmSirenSettings(box_size=0.24 * scale)
    renderer = ManifoldSettings(
        surfaces=23, radii=(2.3 * 0.12 * scale, 0.8 * 0.12 * scale), centre=(0.0, 0.0, -1.5 * 0.12 * scale),
        stretch=(1.0, 1.0, 1.0), tail=0.0, step=0.04,
        hidden=128, start="published", warp=2 / (0.24 * scale), grid=None, near=0.88 * scale,
        far=1.12 * scale, sphere_radius=None, crop=None, plane=-0.12 * scale, chunk=4096, recompute=True,
    )  # fmt: skip
    generator = GeneratorSettings(
        volume=volume, z_dim=256, w_dim=volume.style_dim, condition_scale=0.0, neural_resolution=256,
        decoder=DecoderSettings(hidden=0, features=3, activation="sigmoid"), renderer=renderer, background=None,
        raw="first_three", upsampler=UpsamplerSettings(input_resolution=256, channels=(), doubles=()), camera_shift=False,
    )  # fmt: skip
    widths = SynthesisSettings(channel_base=8192, channel_max=400)
    return ModelSettings(generator, DiscriminatorSettings(resolution=256, mask=False, pose=True, widths=widths))


def with_renderer(settings: ModelSettings, renderer: RendererSettings) -> ModelSettings:
    """Return the settings with another renderer, and nothing else touched."""
    return dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, renderer=renderer))


def with_feedback(settings: ModelSettings) -> ModelSettings:
    """Return the settings with the parsing head's features fed to every block of the super-resolution."""
    blocks = tuple(range(len(settings.generator.upsampler.channels)))
    parsing = dataclasses.replace(settings.generator.parsing or ParsingSettings(), feedback=blocks)
    return dataclasses.replace(settings, generator=dataclasses.replace(settings.generator, parsing=parsing))


TINY_MANIFOLDS = ManifoldSettings(surfaces=32, hidden=32, grid=32, samples=48)
"""Manifolds of a model for one CPU."""


TINY_SURFACE = SurfaceRendererSettings(shape=ShapeSettings(cells=24, size=0.8), detach=False)
"""Surfaces of a model for one CPU."""


TINY_SPLATS = SplatSettings(spacing=0.04)
"""Gaussians of a model for one CPU."""


def tiny_64_surface() -> ModelSettings:
    """tiny-64 with heads as meshes, and a discriminator of the mask beside the other."""
    settings = tiny_64()
    return ModelSettings(
        dataclasses.replace(settings.generator, renderer=TINY_SURFACE),
        dataclasses.replace(settings.discriminator, mask=False, silhouette=True),
    )


def _tiny_planes() -> TriPlaneSettings:
    return TriPlaneSettings(resolution=64, num_features=16)


@dataclass(frozen=True)
class Preset:
    """A named model and how it is trained."""

    make: Callable[[], ModelSettings]
    """Makes its settings."""
    recipe: Literal["spherehead", "panohead", "eg3d", "get3d", "gram"] = "spherehead"
    """Published system whose training recipe it has (`train.recipes.RECIPES`)."""
    scale: Literal["full", "one_gpu", "one_cpu"] = "full"
    """Machine that the recipe is shortened for (`train.recipes.SCALES`)."""


PRESETS: dict[str, Preset] = {
    "spherehead-512": Preset(spherehead_512),
    "spherehead-512-feedback": Preset(lambda: with_feedback(spherehead_512())),
    "spherehead-512-single": Preset(lambda: with_volume(spherehead_512(), spheres="a")),
    "spherehead-512-planar": Preset(lambda: with_volume(spherehead_512(), volume=TriPlaneSettings())),
    "spherehead-manifolds-512": Preset(lambda: with_renderer(spherehead_512(), ManifoldSettings())),
    "gram-256": Preset(gram_256, recipe="gram"),
    "panohead-512": Preset(panohead_512, recipe="panohead"),
    "eg3d-512": Preset(eg3d_512, recipe="eg3d"),
    "eg3d-512-corrected": Preset(lambda: with_volume(eg3d_512(), axes="xy_xz_yz"), recipe="eg3d"),
    "hyplanehead-512": Preset(hyplanehead_512, recipe="panohead"),
    "hyplanehead-512-planar": Preset(lambda: with_volume(hyplanehead_512(), volume=TriPlaneSettings()), recipe="panohead"),
    "get3d-512": Preset(get3d_512, recipe="get3d"),
    "small-128": Preset(small_128, scale="one_gpu"),
    "small-128-planar": Preset(lambda: with_volume(small_128(), volume=TriPlaneSettings(resolution=128)), scale="one_gpu"),
    "tiny-64": Preset(tiny_64, scale="one_cpu"),
    "tiny-128": Preset(tiny_128, scale="one_cpu"),
    "tiny-64-feedback": Preset(lambda: with_feedback(tiny_64()), scale="one_cpu"),
    "tiny-64-single": Preset(lambda: with_volume(tiny_64(), spheres="a"), scale="one_cpu"),
    "tiny-64-manifolds": Preset(lambda: with_renderer(tiny_64(), TINY_MANIFOLDS), scale="one_cpu"),
    "tiny-64-planar": Preset(lambda: with_volume(tiny_64(), volume=_tiny_planes()), scale="one_cpu"),
    "tiny-64-trigrid": Preset(
        lambda: with_volume(tiny_64(), volume=TriGridSettings(resolution=64, num_features=16)), scale="one_cpu"
    ),
    "tiny-64-splats": Preset(lambda: with_renderer(tiny_64(), TINY_SPLATS), scale="one_cpu"),
    "tiny-64-surface": Preset(tiny_64_surface, scale="one_cpu"),
    "tiny-64-hyplane": Preset(
        lambda: with_volume(tiny_64(), volume=HyPlaneSettings(resolution=128, num_features=16)), scale="one_cpu"
    ),
}
"""Every preset by name; `-single` and `-planar` are the ablations with one sphere and with no spherical plane."""


def preset(name: str) -> ModelSettings:
    """Return the settings of a preset.

    Raises:
        ConfigError: there is no such preset; the message names the nearest.
    """
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(PRESETS)}"
        raise ConfigError(f"unknown model preset '{name}'; {hint}")
    return PRESETS[name].make()
