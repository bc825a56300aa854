"""Named terms of the players' losses."""

from __future__ import annotations

from typing import get_args

from .adversarial import DiscriminatorAdversarial, GeneratorAdversarial
from .density import DensitySmoothness
from .parsing import LabellerFit, ParsingAgreement
from .r1 import R1
from .shift import CameraShift
from .term import LossTerm
from .vico import ViCo

TermSettings = (
    GeneratorAdversarial
    | DiscriminatorAdversarial
    | ViCo
    | R1
    | DensitySmoothness
    | CameraShift
    | LabellerFit
    | ParsingAgreement
)
"""Settings of any term, which are the term itself; their `kind` tells them apart in a file."""


def terms() -> tuple[type[LossTerm], ...]:
    """Return the class of every term."""
    return get_args(TermSettings)
