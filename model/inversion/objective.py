"""What an inversion minimises: how a generated head differs from its photographs, term by term.

Pixels outside the matte count only where the ground has a style vector of its own; the perceptual term sees the head
alone. Priors on style and camera belong to `search`, which moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...manifests.config import check_ranges
from ..losses.views import pyramid_errors
from ..nets.face_recognition import FaceRecognition
from ..nets.perceptual import PerceptualNet, feature_distance
from ..nets.upsampler import resize
from ..portrait import Portrait
from .face_identity import FaceIdentity
from .targets import Targets

LOOKED_AT = 256
"""Largest side in pixels of what the perceptual network looks at."""


@dataclass(frozen=True)
class ObjectiveSettings:
    """Weights of the terms."""

    reconstruction: float = 1.0
    """L1 of picture and raw picture over a pyramid, inside the matte."""
    levels: int = 3
    """Levels of the pyramid: the picture itself, averaged by 2, by 4 ..."""
    gradient: float = 1.0
    """Factor on the differences of neighbouring pixels, within the reconstruction."""
    ground: float = 0.2
    """Weight of pixels outside the head, where the ground has a style vector of its own."""
    perceptual: float = 0.25
    """Distance of features (see `nets.perceptual`), inside the matte."""
    mask: float = 0.5
    """Binary cross-entropy of the rendered mask against the matte."""
    classes: float = 0.05
    """Cross-entropy of the class probabilities against the class map."""
    identity: float = 0.03
    """Distance of the face from the photograph's (see `face_identity`), where the network is there and a face is seen."""

    def __post_init__(self) -> None:
        names = ("reconstruction", "gradient", "ground", "perceptual", "mask", "classes", "identity")
        check_ranges(self, levels=(1, 8), **dict.fromkeys(names, (0, 1e3)))


class Objective:
    """The terms for one person's photographs."""

    def __init__(
        self, targets: Targets, raw_resolution: int, own_ground: bool, perceptual: PerceptualNet | None = None,
        settings: ObjectiveSettings = ObjectiveSettings(), recognition: FaceRecognition | None = None,
    ) -> None:  # fmt: skip
        """Prepare what does not change.

        Args:
            targets: the photographs.
            raw_resolution: side of the generator's raw picture.
            own_ground: whether the ground has a style vector of its own.
            perceptual: distance of features; None leaves the term out.
            settings: weights.
            recognition: tells faces apart; None leaves the term out.
        """
        self.targets, self.settings, self.perceptual = targets, settings, perceptual
        self.mask = resize(targets.mask, raw_resolution).clamp(0, 1)
        self.wanted = ((targets.image, targets.mask), (resize(targets.image, raw_resolution), self.mask))
        self.ground = settings.ground if own_ground else 0.0
        self.features: list[Tensor] = []
        if perceptual is not None and settings.perceptual:
            with torch.no_grad():
                self.features = perceptual.features(self._looked_at(targets.image))
        self.identity = FaceIdentity(recognition, targets) if recognition is not None and settings.identity else None

    def plain(self) -> Objective:
        """Return the terms but those of networks, which forgive shifts and turns: what cameras are judged by."""
        return Objective(self.targets, self.mask.shape[-1], self.ground > 0, None, self.settings)

    def __call__(self, made: Portrait) -> dict[str, Tensor]:
        """Return the weighted terms, each the mean over the photographs."""
        assert made.mask is not None
        settings = self.settings
        terms = {"reconstruction": settings.reconstruction * self._reconstruction(made)}
        found = made.mask.float().clamp(1e-4, 1 - 1e-4)
        terms["mask"] = settings.mask * functional.binary_cross_entropy(found, self.mask)
        if self.features and self.perceptual is not None:
            seen = self.perceptual.features(self._looked_at(made.image))
            terms["perceptual"] = settings.perceptual * feature_distance(seen, self.features, self.targets.mask).mean()
        if self.identity is not None and self.identity.rows:  # a photograph without a face counts as one without a fault
            terms["identity"] = settings.identity * self.identity(made.image).sum() / len(self.targets.ids)
        if self.targets.parsing is not None and made.parsing is not None and settings.classes:
            logs = made.parsing.float().clamp_min(1e-6).log()
            terms["classes"] = -settings.classes * (self.targets.parsing * logs).sum(dim=1).mean()
        return terms

    def _looked_at(self, image: Tensor) -> Tensor:
        """Return pictures on grey outside the matte, no larger than `LOOKED_AT`."""
        return resize(image.float() * self.targets.mask, min(image.shape[-1], LOOKED_AT))

    def _reconstruction(self, made: Portrait) -> Tensor:
        """Return the L1 of picture and raw picture over the pyramid, pixels weighted by the matte."""
        total = made.image.new_zeros(())
        for picture, (wanted, mask) in zip((made.image, made.raw), self.wanted, strict=True):
            error, weight = picture.float() - wanted, self.ground + (1.0 - self.ground) * mask
            for rows in pyramid_errors(error, weight, self.settings.levels, self.settings.gradient):
                total = total + rows.mean()
        return total / (2 * self.settings.levels)


def total(terms: Mapping[str, Tensor]) -> Tensor:
    """Return the sum of terms."""
    return torch.stack(list(terms.values())).sum()
