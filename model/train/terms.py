"""The terms of both players' losses as settings of a run, and which of them are due when.

What a term computes is in `losses`; phases of a run are those of `schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from ...manifests.config import ConfigError
from ..losses import (
    R1,
    CameraShift,
    ClassAgreement,
    DensitySmoothness,
    DepthAgreement,
    DiscriminatorAdversarial,
    FeatureMatching,
    GeneratorAdversarial,
    LabellerFit,
    LossTerm,
    MaskAgreement,
    ParsingAgreement,
    Perceptual,
    Reconstruction,
    StylePrior,
    ViCo,
)
from ..losses.step import Player
from .schedule import Phase


@dataclass(frozen=True)
class Terms:
    """The terms of both players' losses; null leaves one out."""

    generator_adversarial: GeneratorAdversarial | None = GeneratorAdversarial()
    """The generator's part of the game."""
    discriminator_adversarial: DiscriminatorAdversarial | None = DiscriminatorAdversarial()
    """The discriminator's part of the game."""
    vico: ViCo | None = None
    """View-image consistency (SphereHead)."""
    r1: R1 | None = R1()
    """Penalty on the discriminator's slope at the data."""
    feature_matching: FeatureMatching | None = None
    """Generated pictures excite the discriminator's features as the data do."""
    camera_shift: CameraShift | None = None
    """Learned camera shifts cancel (PanoHead)."""
    density: DensitySmoothness | None = None
    """Smooth densities (EG3D)."""
    labeller: LabellerFit | None = None
    """Trains the labeller, which `parsing` needs, on the data's class maps."""
    parsing: ParsingAgreement | None = None
    """The generator's class map agrees with the labeller's labels of its picture."""
    reconstruction: Reconstruction | None = None
    """Rebuilt views of known persons look like their pictures."""
    perceptual: Perceptual | None = None
    """Rebuilt views look alike to a network that knows photographs."""
    mask_agreement: MaskAgreement | None = None
    """Rebuilt views have the exact mask."""
    class_agreement: ClassAgreement | None = None
    """Rebuilt views have the exact classes."""
    depth_agreement: DepthAgreement | None = None
    """Rebuilt views have the exact depth; needs data with depth maps."""
    style_prior: StylePrior | None = None
    """Persons' style vectors stay small."""
    extra: dict[str, LossTerm] = field(default_factory=dict)
    """Further terms by a name of your choice, such as those of a plugin: {sharp: {kind: sharpness, weight: 0.1}}."""

    def __post_init__(self) -> None:
        if self.parsing is not None and self.labeller is None:
            raise ConfigError("terms.parsing needs a labeller: --set 'terms.labeller={}' beside it")

    @property
    def wants_depth(self) -> bool:
        """Whether any term compares with exact depth maps."""
        named = (getattr(self, item.name) for item in fields(self) if item.name != "extra")
        return any(term is not None and term.wants_depth for term in (*named, *self.extra.values()))

    def due(self, player: Player, update: int, phase: Phase = "adversarial") -> dict[str, LossTerm]:
        """Return the player's terms that are due at its update of this number, by name.

        Terms that compare views of known persons belong to the phases views and joint, those of the game to joint and
        adversarial.
        """
        without = {"views": False, "joint": None, "adversarial": True}[phase]
        terms = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "extra"} | self.extra
        return {
            name: term
            for name, term in terms.items()
            if term is not None
            and term.player == player
            and not update % term.every
            and (term.wants_views is None or term.wants_views is not without)
        }
