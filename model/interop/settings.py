"""Published settings to this toolkit's: widths come from the shapes of tensors, the rest from the arguments a network keeps.

Reading files and moving tensors are left to its neighbours. A setting that changes pictures and has no counterpart here is
refused by name, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...manifests.config import ConfigError
from ..discriminator import DiscriminatorSettings
from ..generator import GeneratorSettings
from ..nets.backbone import SynthesisSettings
from ..nets.background import BackgroundSettings
from ..nets.decoder import DecoderSettings
from ..nets.mapping import MappingSettings
from ..nets.parsing import ParsingSettings
from ..nets.upsampler import UpsamplerSettings
from ..volume_rendering import MarchSettings
from ..volumes import DualSphereSettings, HyPlaneSettings, TriGridSettings, TriPlaneSettings, VolumeSettings
from .limits import shown

Shapes = Mapping[str, tuple[int, ...]]
"""Published names of tensors and their shapes."""
UPSAMPLERS: dict[str, tuple[int, tuple[bool, bool]]] = {
    "SuperresolutionHybrid8XDC": (128, (True, True)),
    "SuperresolutionHybrid8X": (128, (True, True)),
    "SuperresolutionHybrid4X": (128, (False, True)),
    "SuperresolutionHybrid2X": (64, (False, True)),
}
"""Published super-resolution classes: input resolution, and which of the two blocks doubles it."""
ACTIVATIONS = {"none": "none", "sigmoid": "sigmoid", "lrelu": "leaky_relu"}
WARPS = {(True, True): "laea_square", (True, False): "laea_disc", (False, False): "theta_phi"}
"""HyPlaneHead's two flags, sphere to disc and disc to square, and the warp they mean."""
CROP_MARGIN = 0.1
"""PanoHead and its successors: samples nearer than this to the box's sides in x and z are empty."""
FP16_CLAMP = 256.0
"""Published bound on activations of the super-resolution where it was trained in fp16."""


class PublishedSettingsError(ConfigError):
    """A published network whose settings are missing, damaged or without a counterpart here."""


class Arguments:
    """Named values of a published network, checked when they are asked for."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, Mapping):
            raise PublishedSettingsError(f"expected {where} as a mapping, got {type(values).__name__}")
        self.values, self.where = values, where

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def number(self, name: str, default: float | None = None) -> float:
        """Return a number; an error if it is none, or missing without a default."""
        value = self.values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PublishedSettingsError(f"expected {self.where} with a number as '{name}', got {shown(value)}")
        return float(value)

    def count(self, name: str, default: int | None = None) -> int:
        """Return a whole number from 0 on."""
        value = self.number(name, default)
        if value != int(value) or value < 0:
            raise PublishedSettingsError(f"expected {self.where} with a whole number as '{name}', got {shown(value)}")
        return int(value)

    def flag(self, name: str) -> bool:
        """Return whether a setting is there and true."""
        value = self.values.get(name, False)
        if not isinstance(value, bool):
            raise PublishedSettingsError(f"expected {self.where} with true or false as '{name}', got {shown(value)}")
        return value

    def one_of(self, name: str, known: Mapping[str, Any], default: str) -> Any:
        """Return what a text stands for."""
        value = self.values.get(name, default)
        if not isinstance(value, str) or value not in known:
            raise PublishedSettingsError(f"expected {self.where} with '{name}' one of {', '.join(known)}, got {shown(value)}")
        return known[value]

    def inner(self, name: str) -> Arguments:
        """Return a mapping inside, empty where there is none."""
        return Arguments(self.values.get(name) or {}, f"{self.where}.{name}")

    def clamp(self) -> float | None:
        """Return the bound on activations, or None for none."""
        return None if self.values.get("conv_clamp") is None else self.number("conv_clamp")


def size_of(shapes: Shapes, name: str, axis: int) -> int:
    """Return one side of a tensor.

    Raises:
        PublishedSettingsError: there is no such tensor, or it has fewer axes.
    """
    shape = shapes.get(name)
    if shape is None:
        raise PublishedSettingsError(
            f"expected a published tensor '{name}', found none among {len(shapes)}; which network is it?"
        )
    if axis >= len(shape):
        raise PublishedSettingsError(f"expected more than {axis} axes of the published tensor '{name}', got shape {shape}")
    return shape[axis]


def resolutions(shapes: Shapes, prefix: str) -> list[int]:
    """Return the resolutions of the blocks below a prefix, rising from 4."""
    pattern = re.compile(re.escape(prefix) + r"b(\d{1,5})\.")
    found = sorted({int(match[1]) for name in shapes if (match := pattern.match(name))})
    if not found or found != [4 * 2**power for power in range(len(found))]:
        raise PublishedSettingsError(f"expected blocks of 4, 8, 16, ... below '{prefix}', got {found}")
    return found


def fitting(widths: Mapping[int, int], clamp: float | None) -> SynthesisSettings:
    """Return the settings whose channels at each resolution are `widths`."""
    found = SynthesisSettings(max(size * width for size, width in widths.items()), max(widths.values()), clamp)
    if any(found.channels(size) != width for size, width in widths.items()):
        raise PublishedSettingsError(f"expected channels min(base / resolution, most), got {dict(widths)}")
    return found


def synthesis(shapes: Shapes, prefix: str, clamp: float | None) -> tuple[int, SynthesisSettings]:
    """Return the resolution and widths of a synthesis network."""
    sizes = resolutions(shapes, prefix)
    return sizes[-1], fitting({size: size_of(shapes, f"{prefix}b{size}.conv1.weight", 0) for size in sizes}, clamp)


def num_layers(shapes: Shapes, prefix: str) -> int:
    """Return how many fully connected layers a mapping network has."""
    return sum(1 for name in shapes if re.fullmatch(re.escape(prefix) + r"fc\d+\.weight", name))


def volume_settings(shapes: Shapes, rendering: Arguments, resolution: int) -> VolumeSettings:
    """Return the volume: by the tensors it has of its own, else by the settings that only one of the systems writes."""
    box = rendering.number("box_warp")
    features = size_of(shapes, "decoder.net.0.weight", 1)
    if "ConvA.0.weight" in shapes:
        head, width = size_of(shapes, "ConvA.0.weight", 0), size_of(shapes, "ConvA.0.weight", 1)
        return DualSphereSettings(
            resolution=resolution, num_features=features, in_channels=width, head_channels=head, box_size=box
        )
    if "render_mode" in rendering:
        flat = rendering.one_of("render_mode", {"TriPlane_SingSph_flatten": True, "TriGrid": False}, "")
        if flat:
            warp = WARPS.get((rendering.flag("sph2cir_flag"), rendering.flag("cir2squ_flag")))
            if warp is None:
                raise PublishedSettingsError("expected sph2cir_flag with cir2squ_flag, got the latter alone")
            return HyPlaneSettings(resolution=resolution, num_features=features, box_size=box, warp=warp)  # type: ignore[arg-type]
    if "triplane_depth" in rendering:
        layers, channels = rendering.count("triplane_depth"), size_of(shapes, "backbone.synthesis.b4.torgb.weight", 0)
        if channels != 3 * features * layers:
            raise PublishedSettingsError(f"expected {channels} channels = 3 x {features} x triplane_depth, got {layers}")
        return TriGridSettings(layers=layers, resolution=resolution, num_features=features, box_size=box)
    return TriPlaneSettings(axes="xy_xz_zx", resolution=resolution, num_features=features, box_size=box)


def march_settings(rendering: Arguments) -> MarchSettings:
    """Return how rays are sampled."""
    if rendering.flag("disparity_space_sampling") or rendering.flag("white_back"):
        raise PublishedSettingsError("expected disparity_space_sampling and white_back to be false, got true")
    rendering.one_of("clamp_mode", {"softplus": True}, "softplus")
    for name in ("ray_start", "ray_end"):
        if rendering.values.get(name) == "auto":
            raise PublishedSettingsError(
                f"expected a distance as '{name}', got 'auto' (where rays meet the box), which is not read"
            )
    crops = "triplane_depth" in rendering
    margin = rendering.number("triplane_crop", CROP_MARGIN)
    return MarchSettings(
        coarse_samples=rendering.count("depth_resolution"),
        fine_samples=rendering.count("depth_resolution_importance", 0),
        near=rendering.number("ray_start"),
        far=rendering.number("ray_end"),
        crop=rendering.number("box_warp") / 2 - margin if crops else None,
    )


def upsampler_settings(shapes: Shapes, arguments: Arguments, rendering: Arguments) -> UpsamplerSettings:
    """Return the super-resolution: its class says where it doubles, its tensors how wide it is."""
    full = str(rendering.values.get("superresolution_module"))
    if full.rpartition(".")[2] not in UPSAMPLERS:
        raise PublishedSettingsError(f"expected a superresolution_module of {', '.join(UPSAMPLERS)}, got {shown(full)}")
    size, doubles = UPSAMPLERS[full.rpartition(".")[2]]
    return UpsamplerSettings(
        input_resolution=size,
        channels=tuple(size_of(shapes, f"superresolution.block{index}.conv1.weight", 0) for index in (0, 1)),
        doubles=doubles,
        noise=rendering.one_of("superresolution_noise_mode", {"none": "none", "const": "const", "random": "random"}, "none"),
        clamp=FP16_CLAMP if arguments.count("sr_num_fp16_res", 0) else None,
    )


def generator_settings(shapes: Shapes, values: Any, rendering_values: Any, neural_resolution: int) -> GeneratorSettings:
    """Return the settings of a published generator.

    Args:
        shapes: its tensors.
        values: arguments it was made with (`_init_kwargs`).
        rendering_values: its `rendering_kwargs`.
        neural_resolution: its `neural_rendering_resolution`.

    Raises:
        PublishedSettingsError: one is missing or has no counterpart here.
    """
    arguments, rendering = Arguments(values, "arguments"), Arguments(rendering_values, "rendering_kwargs")
    arguments.one_of("architecture", {"skip": True}, "skip")
    if rendering.number("decoder_lr_mul", 1.0) != 1.0:
        raise PublishedSettingsError("expected decoder_lr_mul 1, which all published networks have")
    clamp = arguments.clamp()
    resolution, backbone = synthesis(shapes, "backbone.synthesis.", clamp)
    background = BackgroundSettings(*synthesis(shapes, "bcg_synthesis.", clamp)) if "bcg_synthesis.b4.const" in shapes else None
    w_dim = size_of(shapes, "backbone.mapping.fc0.weight", 0)
    conditioned = "backbone.mapping.embed.weight" in shapes
    lr_multiplier = arguments.inner("mapping_kwargs").number("lr_multiplier", 0.01)
    parsing = ParsingSettings(size_of(shapes, "toparsing.weight", 0)) if "toparsing.weight" in shapes else None
    scale = 0.0 if rendering.flag("c_gen_conditioning_zero") else rendering.number("c_scale", 0)
    shifts = "t_mapping.fc0.weight" in shapes
    return GeneratorSettings(
        volume=volume_settings(shapes, rendering, resolution),
        z_dim=size_of(shapes, "backbone.mapping.fc0.weight", 1) - (w_dim if conditioned else 0),
        w_dim=w_dim,
        condition_dim=size_of(shapes, "backbone.mapping.embed.weight", 1) if conditioned else 0,
        condition_scale=scale,
        neural_resolution=neural_resolution,
        mapping=MappingSettings(num_layers(shapes, "backbone.mapping."), lr_multiplier),
        backbone=backbone,
        decoder=DecoderSettings(
            hidden=size_of(shapes, "decoder.net.0.weight", 0),
            features=size_of(shapes, "decoder.net.2.weight", 0) - 1,
            activation=rendering.one_of("decoder_activation", ACTIVATIONS, "sigmoid"),
        ),
        renderer=march_settings(rendering),
        background=background,
        raw="modulated" if "torgb.weight" in shapes else "first_three",
        upsampler=upsampler_settings(shapes, arguments, rendering),
        parsing=parsing,
        camera_shift=shifts,
        camera_shift_scale=scale if shifts else 1.0,
    )


def discriminator_settings(shapes: Shapes, values: Any) -> DiscriminatorSettings:
    """Return the settings of a published discriminator: EG3D's, PanoHead's second and SphereHead's.

    Raises:
        PublishedSettingsError: one is missing or has no counterpart here.
    """
    arguments = Arguments(values, "arguments")
    arguments.one_of("architecture", {"resnet": True}, "resnet")
    sizes = resolutions(shapes, "")
    widths = {size: size_of(shapes, f"b{size}.conv0.weight", 0) for size in sizes[1:]}
    widths[4] = size_of(shapes, "b4.conv.weight", 0)
    extra = size_of(shapes, f"b{sizes[-1]}.fromrgb.weight", 1) - 6
    if extra < 0:
        raise PublishedSettingsError(
            f"expected a discriminator of picture and raw picture, 6 channels or more, got {extra + 6}"
        )
    return DiscriminatorSettings(
        resolution=sizes[-1],
        mask=extra > 0,
        parsing_channels=max(extra - 1, 0),
        label_dim=size_of(shapes, "mapping.embed.weight", 1),
        widths=fitting(widths, arguments.clamp()),
        group=arguments.inner("epilogue_kwargs").count("mbstd_group_size", 4),
        condition_layers=num_layers(shapes, "mapping."),
    )
