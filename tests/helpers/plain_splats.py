"""Gaussians drawn the slow way: every Gaussian at every pixel, one after the other from near to far, in double precision."""

from __future__ import annotations

import torch
from spherehead.model.volume_rendering.rays import Rays
from spherehead.model.volume_rendering.splats.gaussians import Gaussians
from torch import Tensor


def pixels(gaussians: Gaussians, values: Tensor, rays: Rays) -> tuple[Tensor, Tensor]:
    """Return the (B, r, r, C) composed values and the (B, r, r) weights, by the formulas of Kerbl et al. (2023)."""
    r = rays.resolution
    all_axes = gaussians.axes.double()
    centres = torch.arange(r, dtype=torch.float64) + 0.5
    row, column = torch.meshgrid(centres, centres, indexing="ij")
    pictures, covers = [], []
    for head, label in enumerate(rays.camera.double()):
        cam2world, k = label[:16].view(4, 4), label[16:].view(3, 3)
        world2cam = torch.linalg.inv(cam2world)
        own = (gaussians.head == head).nonzero().squeeze(1)
        local = gaussians.centres[own].double() @ world2cam[:3, :3].T + world2cam[:3, 3]
        light, picture = torch.ones(r, r, dtype=torch.float64), torch.zeros(r, r, values.shape[1], dtype=torch.float64)
        done = torch.zeros(r, r, dtype=torch.bool)
        for one in local[:, 2].argsort(stable=True).tolist():
            point, which = local[one], own[one]

            def place(at: Tensor, k: Tensor = k) -> Tensor:
                seen = k @ at
                return seen[:2] / seen[2] * r

            slopes = torch.autograd.functional.jacobian(place, point, create_graph=True)
            assert isinstance(slopes, Tensor)
            axes = world2cam[:3, :3] @ all_axes[which]
            covariance = slopes @ axes @ axes.T @ slopes.T + 0.3 * torch.eye(2, dtype=torch.float64)
            inverse = torch.linalg.inv(covariance)
            offset = torch.stack([column, row], dim=-1) - place(point)
            power = -0.5 * torch.einsum("ijk,kl,ijl->ij", offset, inverse, offset)
            alpha = (gaussians.opacity[which].double() * power.exp()).clamp_max(0.999)
            alpha = torch.where(alpha >= 1 / 255, alpha, 0.0)
            done = done | ((light * (1 - alpha) <= 1e-4) & (alpha > 0))
            alpha = torch.where(done, 0.0, alpha)
            picture = picture + (light * alpha)[..., None] * values[which].double()
            light = light * (1 - alpha)
        pictures.append(picture)
        covers.append(1 - light)
    return torch.stack(pictures), torch.stack(covers)
