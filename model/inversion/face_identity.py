"""Whose face an inverted head has: its distance from the photographs', by dlib's network, where these show a face.

Faces are cut out of both at one place, by the camera, and without their backgrounds. The network and what its distances mean is
`nets.face_recognition`'s affair; how much the distance weighs is the objective's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ...datasets.classes import INDEX
from ..fetched import HOW_TO_GET
from ..nets.face_chips import face_chips, face_visible
from ..nets.face_recognition import SAME_PERSON, FaceRecognition
from .targets import Targets

_FACE = ("skin", "left_brow", "right_brow", "left_eye", "right_eye", "glasses", "nose", "mouth", "upper_lip", "lower_lip")
FACE_CLASSES = tuple(INDEX[name] for name in _FACE)
"""What of a class map is face."""
LEAST_FACE = 0.25
"""Share of a chip that classes of the face must fill, where there is a class map: hair or a scarf may hide a face."""


@torch.no_grad()
def faces_shown(targets: Targets) -> list[int]:
    """Return which photographs show a face: by their cameras and, where there is one, by the class map."""
    shown = face_visible(targets.camera)
    if targets.parsing is not None:
        known = [index for index in FACE_CLASSES if index < targets.parsing.shape[1]]
        share = face_chips(targets.parsing[:, known].sum(dim=1, keepdim=True), targets.camera).mean(dim=(1, 2, 3))
        shown &= share >= LEAST_FACE
    return shown.nonzero()[:, 0].tolist()


def comparison(net: FaceRecognition | None, targets: Targets, weight: float) -> str:
    """Say for a record whether identities are compared, and what is missing.

    Args:
        net: the network; None where it was not fetched.
        targets: the photographs.
        weight: of the term in the objective; 0 where there is none.
    """
    if net is None:
        return f"identities were not compared: no face recognition network on this machine; to compare them: {HOW_TO_GET}"
    count = len(faces_shown(targets))
    if not count:
        return "identities were not compared: no photograph shows a face from in front"
    term = f"the identity term has weight {weight:g}" if weight else "there is no identity term"
    return (
        f"identities were compared for {count} of {len(targets.ids)} photographs, {term}; below {SAME_PERSON} dlib takes two "
        "photographs for one person"
    )


class FaceIdentity:
    """The faces of one person's photographs."""

    def __init__(self, net: FaceRecognition, targets: Targets) -> None:
        """Look at the photographs.

        Args:
            net: the face recognition network.
            targets: the photographs; their cameras say where the faces lie.
        """
        self.net, self.rows = net, faces_shown(targets)
        self.mask, self.camera = targets.mask[self.rows], targets.camera[self.rows].detach()
        with torch.no_grad():
            self.wanted = self._vectors(targets.image[self.rows])

    def __call__(self, image: Tensor) -> Tensor:
        """Return the (V,) distances of the faces in (B, 3, R, R) generated pictures from those of the V that show one."""
        return (self._vectors(image[self.rows]) - self.wanted).square().sum(dim=1).add(1e-8).sqrt()

    def _vectors(self, image: Tensor) -> Tensor:
        """Return the (V, 128) vectors of faces on grey."""
        if not self.rows:
            return image.new_zeros(0, 1)
        found: Tensor = self.net(face_chips(image.float() * self.mask, self.camera))
        return found
