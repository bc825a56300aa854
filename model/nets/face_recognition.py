"""Who a face is: dlib's ResNet of 29 convolutions, which maps pictures of one person to vectors that lie close together.

King 2017 (dlib's dnn_face_recognition_ex); trained with a metric loss, by which two pictures of one person are nearer than 0.6.
Where a face lies in a picture is `face_chips`' affair, where the weights come from `fetched`'s.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHIP = 150
"""Side in pixels of what the network looks at."""
SIZE = 128
"""Length of the vector of a face."""
SAME_PERSON = 0.6
"""Distance below which dlib takes two photographs for the same person."""
MEAN = (122.782, 117.001, 104.298)
"""Mean colour of the training pictures, of 0 to 255; differences from it are divided by 256."""
STAGES = ((32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True))
"""Width, number of residual blocks, and whether the first of them halves the side, of each stage."""
STEM = 32
"""Channels of the first convolution."""


class ResidualBlock(nn.Module):
    """Two convolutions of 3 x 3, added to the input or, where the side is halved, to its averages."""

    def __init__(self, width: int, out: int, halved: bool) -> None:
        super().__init__()
        self.halved = halved
        stride, padding = (2, 0) if halved else (1, 1)
        self.first = nn.Conv2d(width, out, 3, stride, padding)
        self.second = nn.Conv2d(out, out, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, out, H', W') features, H' = H or floor(H / 2)."""
        y: Tensor = self.second(functional.relu(self.first(x)))
        if self.halved:
            x = functional.avg_pool2d(x, 2)
            # dlib's convolution drops a border that its average keeps; the smaller of the two is filled up with zeros
            x = functional.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))
            y = functional.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return functional.relu(x + y)


class FaceRecognition(nn.Module):
    """dlib's face recognition network, batch norms folded into the convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM, 7, 2)
        blocks, width = [], STEM
        for out, count, halved in STAGES:
            for index in range(count):
                blocks.append(ResidualBlock(width, out, halved and index == 0))
                width = out
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(width, SIZE, bias=False)
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)

    def forward(self, chips: Tensor) -> Tensor:
        """Return the (B, 128) vectors of faces; their Euclidean distance measures whether two show one person.

        Args:
            chips: (B, 3, 150, 150) aligned faces, sRGB in [-1, 1]; a gradient flows to them.

        Raises:
            ValueError: the chips have another shape.
        """
        if chips.dim() != 4 or tuple(chips.shape[1:]) != (3, CHIP, CHIP):
            raise ValueError(
                f"expected faces of shape (B, 3, {CHIP}, {CHIP}), got {tuple(chips.shape)}; cut them with face_chips"
            )
        x = functional.relu(self.stem((chips * 127.5 + 127.5 - self.mean) / 256.0))
        x = self.blocks(functional.max_pool2d(x, 3, 2))
        found: Tensor = self.fc(x.mean(dim=(2, 3)))
        return found
