"""Style vectors of known persons: a learned table, the Gaussian that new persons are drawn from, and grounds of pictures.

How the table learns is left to `losses.views`; which pictures show whom is left to the data.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .layers import Dense

GROUND_CELLS = 4
"""Cells a side in which the colours of a picture's ground are averaged."""
GROUND_LATENTS = 16
"""Last numbers of a latent, which decide the ground behind a drawn head."""


class GaussianStyles(nn.Module):
    """Latents to style vectors by an affine map: w = mean + factor z, a Gaussian whose moments are fitted to a table.

    It stands in the place of a mapping network, sees no condition and has no parameters: its buffers are fitted, not trained.

    Args of the constructor:
        z_dim, w_dim: numbers of a latent and of a style vector.
        ground_dim: last numbers of the latent that decide the ground's style vector; 0 for none.
    """

    w_mean: Tensor
    w_factor: Tensor
    ground_mean: Tensor
    ground_factor: Tensor

    def __init__(self, z_dim: int, w_dim: int, ground_dim: int = 0) -> None:
        super().__init__()
        if not 0 <= ground_dim < z_dim:
            raise ValueError(f"expected a latent of more than {ground_dim} numbers, got {z_dim}")
        self.z_dim, self.w_dim, self.ground_dim, self.label_dim = z_dim, w_dim, ground_dim, 0
        self.register_buffer("w_mean", torch.zeros(w_dim))
        self.register_buffer("w_factor", torch.eye(w_dim, z_dim - ground_dim))
        if ground_dim:
            self.register_buffer("ground_mean", torch.zeros(w_dim))
            self.register_buffer("ground_factor", torch.eye(w_dim, ground_dim))

    def forward(self, z: Tensor | None, label: Tensor | None = None) -> Tensor:
        """Return w (B, w_dim) of latents (B, z_dim); the label is not looked at."""
        return self.w_mean + self._latents(z)[:, : self.z_dim - self.ground_dim] @ self.w_factor.T

    def ground(self, z: Tensor | None) -> Tensor:
        """Return the (B, w_dim) style vectors of the grounds behind the heads of latents (B, z_dim)."""
        return self.ground_mean + self._latents(z)[:, self.z_dim - self.ground_dim :] @ self.ground_factor.T

    def track(self, w: Tensor) -> None:
        """Do nothing: the mean is fitted to the table."""

    @torch.no_grad()
    def fit(self, styles: Tensor) -> None:
        """Take mean and covariance of a table's (N, w_dim) style vectors."""
        rows = styles.detach().double()
        mean = rows.mean(dim=0)
        centred = rows - mean
        covariance = centred.T @ centred / max(len(rows) - 1, 1)
        self.w_mean.copy_(mean)
        self.w_factor.copy_(principal_factor(covariance, self.w_factor.shape[1]))

    @torch.no_grad()
    def fit_ground(self, mean: Tensor, covariance: Tensor) -> None:
        """Take the (w_dim,) mean and (w_dim, w_dim) covariance of the grounds' style vectors."""
        self.ground_mean.copy_(mean)
        self.ground_factor.copy_(principal_factor(covariance.double(), self.ground_dim))

    def _latents(self, z: Tensor | None) -> Tensor:
        if z is None or z.dim() != 2 or z.shape[1] != self.z_dim:
            got = "nothing" if z is None else str(tuple(z.shape))
            raise ValueError(f"expected a latent of shape (B, {self.z_dim}), got {got}")
        return z.float()


def principal_factor(covariance: Tensor, count: int) -> Tensor:
    """Return the (D, count) factor F of the principal axes of a (D, D) covariance, F F^T being its best approximation.

    The largest number of each axis is positive, so that the same covariance gives the same factor.
    """
    values, axes = torch.linalg.eigh(covariance)
    values, axes = values.flip(0).clamp_min(0.0), axes.flip(1)
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True)).sign()
    factor = axes * largest * values.sqrt()
    missing = count - factor.shape[1]
    return nn.functional.pad(factor, (0, missing)) if missing > 0 else factor[:, :count]


class PersonTable(nn.Module):
    """One learned style vector a known person, and style vectors of grounds from the colours outside the heads.

    Args of the constructor:
        subjects: (N,) int64 numbers of the persons, as `Batch.subject`; each once.
        w_dim: numbers of a style vector.
        spread: standard deviation of the first vectors.
    """

    subjects: Tensor
    ground_moments: Tensor

    def __init__(self, subjects: Tensor, w_dim: int, spread: float = 0.5) -> None:
        super().__init__()
        self.register_buffer("subjects", subjects.unique())
        self.styles = nn.Parameter(torch.randn(len(self.subjects), w_dim) * spread)
        numbers = 3 * GROUND_CELLS**2
        self.to_ground = Dense(numbers, w_dim)
        self.register_buffer("ground_moments", torch.zeros(numbers + 1, numbers + 1, dtype=torch.float64))

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> PersonTable:
        """Return the table that a checkpoint's tensors hold."""
        table = cls(tensors["subjects"], tensors["styles"].shape[1])
        table.load_state_dict(tensors)
        return table

    def rows(self, subject: Tensor) -> Tensor:
        """Return the (B,) row of each person of (B,) numbers; -1 for persons that are not in the table."""
        found = torch.searchsorted(self.subjects, subject).clamp_max(len(self.subjects) - 1)
        return torch.where(self.subjects[found] == subject, found, -1)

    @torch.no_grad()
    def moments_of(self, colours: Tensor) -> Tensor:
        """Return the sum over pictures of the outer products of (1, colours), for colours (B, 48)."""
        rows = nn.functional.pad(colours.double(), (1, 0), value=1.0)
        return rows.T @ rows

    @torch.no_grad()
    def track(self, moments: Tensor, decay: float = 0.999) -> None:
        """Move the running moments of the grounds' colours by what `moments_of` gave for a step's pictures."""
        self.ground_moments.mul_(decay).add_(moments)

    @torch.no_grad()
    def fit(self, styles: GaussianStyles) -> None:
        """Fit the Gaussian that heads and grounds are drawn from to this table."""
        styles.fit(self.styles)
        count = self.ground_moments[0, 0]
        if styles.ground_dim and count > 0:
            mean = self.ground_moments[0, 1:] / count
            covariance = self.ground_moments[1:, 1:] / count - torch.outer(mean, mean)
            weight = self.to_ground.weight.double() * self.to_ground.weight_gain
            styles.fit_ground(self.to_ground(mean.float()[None])[0], weight @ covariance @ weight.T)


def ground_colours(image: Tensor, mask: Tensor) -> Tensor:
    """Return the (B, 48) mean colours of the ground in 4 x 4 cells of (B, 3, R, R) pictures.

    A cell without ground has the mean colour of the picture's whole ground; a picture without ground is grey (0).

    Args:
        image: pictures in [-1, 1].
        mask: (B, 1, r, r) share of the head; a pixel counts as ground where it is below 0.02.
    """
    outside = (nn.functional.interpolate(mask, image.shape[-2:], mode="nearest") < 0.02).to(image.dtype)
    share = nn.functional.adaptive_avg_pool2d(outside, GROUND_CELLS)
    colour = nn.functional.adaptive_avg_pool2d(image * outside, GROUND_CELLS)
    whole = colour.sum(dim=(2, 3), keepdim=True) / share.sum(dim=(2, 3), keepdim=True).clamp_min(1e-6)
    return torch.where(share > 0.05, colour / share.clamp_min(1e-6), whole).flatten(1)
