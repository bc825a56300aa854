"""The mapping network: a latent and a camera label become style vectors, with their running mean for truncation.

Which layer receives which style vector is left to the networks that use them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import nn

from ...manifests.config import check_ranges
from .layers import Dense


@dataclass(frozen=True)
class MappingSettings:
    """Shape of a mapping network."""

    layers: int = 2
    """Fully connected layers after the embedding (EG3D and its successors: 2; the discriminators: 8)."""
    lr_multiplier: float = 0.01
    """Learning rate of these layers relative to the others."""
    mean_decay: float = 0.998
    """Decay of the running mean of w, per batch."""

    def __post_init__(self) -> None:
        check_ranges(self, layers=(1, 64), lr_multiplier=(1e-6, 1e3), mean_decay=(0, 1))


@dataclass(frozen=True)
class FilmMappingSettings:
    """Shape of a mapping network that gives frequencies and phases."""

    layers: int = 3
    """Hidden layers."""
    hidden: int = 256
    """Their width."""
    mean_decay: float = 0.998
    """Decay of the running mean of w, per batch."""

    def __post_init__(self) -> None:
        check_ranges(self, layers=(1, 64), hidden=(1, 65_536), mean_decay=(0, 1))


def unit_second_moment(x: torch.Tensor) -> torch.Tensor:
    """Scale each row of (B, N) to a mean square of one."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class Mapping(nn.Module):
    """Latent (B, z_dim) and label (B, label_dim) to w (B, w_dim); either input may have no numbers.

    Args of the constructor:
        linear_end: the last layer is linear and starts at zero, so that the camera's shift grows from nothing (the published
            start is a random shift as large as the head).
        keeps_mean: hold the running mean that truncation needs.
    """

    w_mean: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        label_dim: int,
        w_dim: int,
        settings: MappingSettings = MappingSettings(),
        *,
        linear_end: bool = False,
        keeps_mean: bool = True,
    ) -> None:
        super().__init__()
        if z_dim + label_dim == 0:
            raise ValueError("expected a latent, a label or both to map, got z_dim 0 and label_dim 0")
        self.z_dim, self.label_dim, self.mean_decay = z_dim, label_dim, settings.mean_decay
        self.embed = Dense(label_dim, w_dim) if label_dim else None
        sizes = [z_dim + (w_dim if label_dim else 0), *[w_dim] * settings.layers]
        last = settings.layers - 1
        self.layers = nn.ModuleList(
            Dense(
                sizes[index],
                sizes[index + 1],
                activation="linear" if linear_end and index == last else "leaky_relu",
                lr_multiplier=settings.lr_multiplier,
            )
            for index in range(settings.layers)
        )
        if linear_end:
            nn.init.zeros_(self.layers[-1].weight)  # type: ignore[arg-type]
        if keeps_mean:
            self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(self, z: torch.Tensor | None, label: torch.Tensor | None) -> torch.Tensor:
        """Return w (B, w_dim), not truncated.

        Raises:
            ValueError: an input is missing or has the wrong shape.
        """
        parts = []
        if self.z_dim:
            parts.append(unit_second_moment(_checked(z, self.z_dim, "latent")))
        if self.embed is not None:
            parts.append(unit_second_moment(self.embed(_checked(label, self.label_dim, "label"))))
        if len({len(part) for part in parts}) > 1:
            raise ValueError(f"expected as many latents as labels, got {len(parts[0])} and {len(parts[1])}")
        x = torch.cat(parts, dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def track(self, w: torch.Tensor) -> None:
        """Move the running mean towards the mean of w (B, w_dim)."""
        self.w_mean.copy_(w.detach().mean(dim=0).lerp(self.w_mean, self.mean_decay))


class FilmMapping(nn.Module):
    """Latent (B, z_dim) to one vector of frequencies and phases for all layers of a FiLM-SIREN (Chan et al. 2021).

    It sees no label. The mean of its vectors is kept for truncation, as `Mapping` does.
    """

    w_mean: torch.Tensor

    def __init__(self, z_dim: int, w_dim: int, settings: FilmMappingSettings = FilmMappingSettings()) -> None:
        super().__init__()
        self.z_dim, self.mean_decay = z_dim, settings.mean_decay
        widths = [z_dim, *[settings.hidden] * settings.layers, w_dim]
        self.layers = nn.ModuleList(nn.Linear(one, other) for one, other in itertools.pairwise(widths))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, a=0.2, nonlinearity="leaky_relu")  # type: ignore[arg-type]
        with torch.no_grad():
            self.layers[-1].weight.mul_(0.25)  # type: ignore[operator]
        self.register_buffer("w_mean", torch.zeros(w_dim))

    def forward(self, z: torch.Tensor | None, label: torch.Tensor | None) -> torch.Tensor:
        """Return w (B, w_dim), not truncated.

        Raises:
            ValueError: the latent is missing or has the wrong shape.
        """
        x = _checked(z, self.z_dim, "latent")
        for layer in self.layers[:-1]:
            x = nn.functional.leaky_relu(layer(x), 0.2)
        out: torch.Tensor = self.layers[-1](x)
        return out

    @torch.no_grad()
    def track(self, w: torch.Tensor) -> None:
        """Move the running mean towards the mean of w (B, w_dim)."""
        self.w_mean.copy_(w.detach().mean(dim=0).lerp(self.w_mean, self.mean_decay))


def _checked(x: torch.Tensor | None, width: int, name: str) -> torch.Tensor:
    if x is None or x.dim() != 2 or x.shape[1] != width:
        got = "nothing" if x is None else str(tuple(x.shape))
        raise ValueError(f"expected a {name} of shape (B, {width}), got {got}")
    if not x.isfinite().all():
        raise ValueError(f"expected finite numbers in the {name}, got NaN or infinity")
    return x.float()


def spread(w: torch.Tensor, count: int, mean: torch.Tensor, psi: float = 1.0, cutoff: int | None = None) -> torch.Tensor:
    """Repeat w for every layer and pull the first `cutoff` of them towards the mean.

    Args:
        w: (B, w_dim).
        count: number of layers.
        mean: (w_dim,) where psi 0 ends.
        psi: share of the difference that is kept; 1 keeps w.
        cutoff: number of layers that are truncated; None for all.

    Returns:
        (B, count, w_dim).
    """
    ws = w[:, None].repeat(1, count, 1)
    if psi == 1.0:
        return ws
    held = count if cutoff is None else cutoff
    return torch.cat([mean.lerp(ws[:, :held], psi), ws[:, held:]], dim=1)
