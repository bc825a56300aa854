"""Named terms of the players' losses."""

from __future__ import annotations

from .adversarial import DiscriminatorAdversarial, GeneratorAdversarial
from .density import DensitySmoothness
from .feature_matching import FeatureMatching
from .parsing import LabellerFit, ParsingAgreement
from .pose import DiscriminatorPose, GeneratorPose
from .r1 import R1
from .renderer import RendererPenalty
from .shift import CameraShift
from .term import LossTerm, register_term
from .vico import ViCo
from .views import ClassAgreement, DepthAgreement, MaskAgreement, Perceptual, Reconstruction, StylePrior

__all__ = [
    "R1",
    "CameraShift",
    "ClassAgreement",
    "DensitySmoothness",
    "DepthAgreement",
    "DiscriminatorAdversarial",
    "DiscriminatorPose",
    "FeatureMatching",
    "GeneratorAdversarial",
    "GeneratorPose",
    "LabellerFit",
    "LossTerm",
    "MaskAgreement",
    "ParsingAgreement",
    "Perceptual",
    "Reconstruction",
    "RendererPenalty",
    "StylePrior",
    "ViCo",
    "register_term",
]
