"""What a renderer would keep small about the geometry, as a term of the generator's loss.

The numbers are the renderers' own (`Rendering.penalties`); this names one of them and weighs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from .step import Player, Step
from .term import LossTerm, register_term


@register_term
@dataclass(frozen=True)
class RendererPenalty(LossTerm):
    """Mean over heads of one penalty of the renderer, on whichever pictures an update makes."""

    player: ClassVar[Player] = "generator"
    wants_views: ClassVar[bool | None] = None

    kind: Literal["renderer_penalty"] = "renderer_penalty"
    """Tells the terms apart in a file."""
    name: str = "levels"
    """Which penalty: levels (manifolds), or another that the run's renderer gives."""

    def __call__(self, step: Step) -> Tensor:
        """Return the mean over heads.

        Raises:
            ValueError: the renderer gives no such penalty.
        """
        if step.rebuilds and not len(step.views.rows):
            return step.camera.new_zeros(())
        penalties = step.views.made.penalties if step.rebuilds else step.fake.penalties
        if self.name not in penalties:
            given = ", ".join(sorted(penalties)) or "none"
            raise ValueError(f"expected a penalty '{self.name}' of the renderer, it gives {given}; leave out the term")
        return penalties[self.name].mean()
