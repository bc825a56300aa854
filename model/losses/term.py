"""What a loss term is, and the registry of terms.

What a term reads is `step.Step`; the terms are in the modules beside this one; which of them are due is left to `train`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from torch import Tensor

from ...manifests.registry import Registry, RegistryError
from .step import Player, Step


@dataclass(frozen=True)
class LossTerm(ABC):
    """One named term of a player's loss; its fields are its settings."""

    weight: float = 1.0
    """Factor on the term."""
    every: int = 1
    """Interval in updates of its player; its gradient then counts as often (lazy regularisation)."""

    kinds: ClassVar[Registry[type[LossTerm]]] = Registry("loss term")
    """Terms by their `kind`, which tells them apart in a file."""
    player: ClassVar[Player]
    """Whose loss it belongs to."""
    wants_real_gradient: ClassVar[bool] = False
    """Whether it differentiates by the data, whose pictures then carry a gradient."""

    wants_views: ClassVar[bool | None] = False
    """Whether it compares rebuilt views of known persons; other terms belong to the game of generator and discriminator, and
    None to both."""
    wants_depth: ClassVar[bool] = False
    """Whether it compares with exact depth maps, which are then read."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"expected every of 1 or more, got {self.every}")

    @abstractmethod
    def __call__(self, step: Step) -> Tensor:
        """Return the term for a micro-batch, a scalar: its mean over the pictures, before the weight."""


T = TypeVar("T", bound=LossTerm)


def register_term(term: type[T]) -> type[T]:
    """Make a loss term known to configs under the default of its field `kind`; used as a class decorator.

    Raises:
        RegistryError: it has no `kind`, or another term has its name.
    """
    kind = next((field.default for field in dataclasses.fields(term) if field.name == "kind"), None)
    if not isinstance(kind, str):
        raise RegistryError(f'the loss term {term.__name__} needs a field such as kind: Literal["sharpness"] = "sharpness"')
    LossTerm.kinds.add(kind, term)
    return term
