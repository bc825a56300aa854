"""What an encoder's answers mean for a guess: the style that all photographs share, grounds, and cameras weighed by trust.

The network is `encoder`; descending from its answer is left to `search`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .cameras import rotation_vector
from .encoder import Encoded, HeadEncoder, about_camera
from .search import Guess


@torch.no_grad()
def fill(guess: Guess, encoder: HeadEncoder) -> None:
    """Set a guess to what an encoder reads off its photographs.

    Several photographs of one person give the mean of what is read off each. The encoder is told of every camera and its
    expected error; the moves are towards what it answers, by how much less it expects to be wrong.

    Args:
        guess: changed in place.
        encoder: of the same generator.
    """
    targets = guess.targets
    own = targets.camera[:, :16].view(-1, 4, 4)[:, :3, :3]
    picture = torch.cat([targets.image, targets.mask], dim=1)
    said: Encoded = encoder(picture, about_camera(own.transpose(1, 2), targets.angle_error))
    guess.head.copy_(said.head.mean(dim=0))
    if len(guess.layers) and said.layers.shape[1] == len(guess.layers):
        guess.layers.copy_(said.layers.mean(dim=0))
    if guess.ground.numel():
        guess.ground.copy_(said.ground)
    units = torch.zeros_like(guess.units)
    units[:, :3] = turn_units(own, said, targets.angle_error)
    guess.begin_at(units)


def turn_units(own: Tensor, said: Encoded, error: Tensor) -> Tensor:
    """Return the (B, 3) turns, in standard deviations, from estimated cameras towards an encoder's answers.

    An encoder is trusted no more than the estimate, however sure it is: it learned from rendered pictures alone, and trusted by
    its own word it moved the camera of a frontal portrait (NASA's of Eileen Collins) by 10 degrees.

    Args:
        own: (B, 3, 3) camera to world, as estimated.
        said: the answers.
        error: (B,) standard deviation of each angle of the estimates.
    """
    between = own.transpose(1, 2) @ said.rotation.transpose(1, 2)
    vector = rotation_vector(between)
    spread = 2.0 * said.log_spread.exp()  # a length with density exp(-r / s) in 3-D has a mean square of 12 s^2
    theirs = torch.maximum(spread, error)
    share = error.square() / (error.square() + theirs.square())
    return vector * (share / error)[:, None]
