"""The three annotator networks: `HeadNet` poses the head in a loose crop, `ParserNet` gives the classes and the coverage of the
head in a canonical crop, `FinderNet` marks every head in a picture.

How they are trained is left to `training`, what their numbers mean for a photograph to `pipeline.annotators.heads`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...datasets.classes import CLASSES
from ..nets.efficientnet import HEAD_WIDTH, WIDTHS, ConvNorm, Encoder

CROP = 128
"""Side in pixels of the crops that `HeadNet` looks at."""
NUM_POINTS = 68
"""iBUG landmarks."""
PARSER_CROP = 256
"""Side in pixels of the canonical crops that `ParserNet` looks at; its maps have half of it."""
FINDER_STRIDE = 8
"""Pixels of the picture per cell of the finder's maps."""


@dataclass(frozen=True, eq=False)
class HeadOutput:
    """What `HeadNet` says of B crops; lengths are in half sides of the crop, the crop's centre is (0, 0)."""

    rotation: Tensor
    """(B, 3, 3) world to camera, the picture's roll included."""
    log_spread: Tensor
    """(B,) logarithm of the rotation's expected error in radians, as the scale of a Laplace density."""
    place: Tensor
    """(B, 3) centre x and y of the head frame, and logarithm of canonical crop side over crop side."""
    points: Tensor
    """(B, 68, 2) landmarks, hidden ones too."""
    log_sigma: Tensor
    """(B, 68) logarithm of each landmark's expected error."""
    classes: Tensor
    """(B, 19, 64, 64) logits."""
    alpha: Tensor
    """(B, 64, 64) logits of this head's coverage."""


def rotation_of(six: Tensor) -> Tensor:
    """Return (B, 3, 3) rotations of (B, 6) numbers: two rows made orthonormal, their cross product (Zhou et al. 2019)."""
    first = F.normalize(six[:, :3], dim=1)
    second = F.normalize(six[:, 3:] - (first * six[:, 3:]).sum(1, keepdim=True) * first, dim=1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=1)], dim=1)


class UpBlock(nn.Module):
    """Doubles the side, joins finer features, mixes both with a separable convolution."""

    def __init__(self, width: int, skip: int, out: int) -> None:
        super().__init__()
        self.narrow = ConvNorm(width, out, 1)
        self.join = ConvNorm(out + skip, out, 1)
        self.depthwise = ConvNorm(out, out, 3, groups=out)
        self.mix = ConvNorm(out, out, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (B, out, 2 H, 2 W) of (B, width, H, W) and finer features."""
        up = F.interpolate(self.narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        y: Tensor = self.mix(self.depthwise(self.join(torch.cat([up, skip], dim=1))))
        return y


class HeadNet(nn.Module):
    """Rotation, place, landmarks, classes and alpha of the head that a crop shows."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.head = ConvNorm(WIDTHS[4], HEAD_WIDTH, 1)
        self.local = ConvNorm(WIDTHS[4], 48, 1)
        numbers = 6 + 1 + 3 + 3 * NUM_POINTS
        self.dropout = nn.Dropout(0.15)
        self.numbers = nn.Linear(HEAD_WIDTH + 48 * (CROP // 32) ** 2, numbers)
        self.ups = nn.ModuleList([UpBlock(320, 112, 96), UpBlock(96, 40, 64), UpBlock(64, 24, 48), UpBlock(48, 16, 32)])
        self.maps = nn.Conv2d(32, len(CLASSES) + 1, 3, padding=1)
        with torch.no_grad():
            self.numbers.bias.zero_()
            self.numbers.bias[0] = self.numbers.bias[4] = 0.3

    def raw(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 214) numbers and (B, 20, 64, 64) maps of a (B, 3, 128, 128) picture normalised as Lite models are."""
        features = self.encoder(x)
        last = features[4]
        pooled = self.head(last).mean(dim=(2, 3))
        numbers = self.numbers(self.dropout(torch.cat([pooled, self.local(last).flatten(1)], dim=1)))
        y = last
        for up, skip in zip(self.ups, (features[3], features[2], features[1], features[0]), strict=True):
            y = up(y, skip)
        return numbers, self.maps(y)

    def forward(self, x: Tensor) -> HeadOutput:
        """Return what is said of a (B, 3, 128, 128) picture."""
        numbers, maps = (part.float() for part in self.raw(x))
        points = numbers[:, 10 : 10 + 2 * NUM_POINTS].reshape(-1, NUM_POINTS, 2)
        return HeadOutput(
            rotation_of(numbers[:, :6]), numbers[:, 6], numbers[:, 7:10], points, numbers[:, 10 + 2 * NUM_POINTS :],
            maps[:, :-1], maps[:, -1],
        )  # fmt: skip


class BeardHead(nn.Module):
    """Tells beards from other hair in two coarse levels of the parser's decoder: where a beard ends is the class map's affair.

    Its first answer is that hardly any hair is beard.
    """

    def __init__(self) -> None:
        super().__init__()
        self.up = UpBlock(64, 48, 16)
        self.last = nn.Conv2d(16, 1, 3, padding=1)
        assert self.last.bias is not None
        with torch.no_grad():
            self.last.weight.zero_()
            self.last.bias.fill_(-4.0)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return (B, 1, 4 H, 4 W) logits of (B, 64, H, W) and (B, 48, 2 H, 2 W) features."""
        return F.interpolate(self.last(self.up(coarse, fine)), scale_factor=2.0, mode="bilinear", align_corners=False)


class ParserNet(nn.Module):
    """Classes and coverage of the head whose canonical crop a picture is: a U-Net on the encoder (Ronneberger et al. 2015).

    Encoder and decoder are those of `HeadNet`, so that its weights start them.
    """

    later = ("beard.",)
    """Starts of the names of weights that networks of before lack; they then keep their first ones, which find no beard."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.ups = nn.ModuleList([UpBlock(320, 112, 96), UpBlock(96, 40, 64), UpBlock(64, 24, 48), UpBlock(48, 16, 32)])
        self.maps = nn.Conv2d(32, len(CLASSES) + 1, 3, padding=1)
        self.beard = BeardHead()

    def start_from(self, head: HeadNet) -> None:
        """Take over the encoder and the decoder of a head network."""
        known = head.state_dict()
        own = self.state_dict()
        self.load_state_dict({name: own[name] if name.startswith(self.later) else known[name] for name in own})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B, 19, H / 2, W / 2) logits of classes, and (B, H / 2, W / 2) logits of coverage and of hair being beard.

        Args:
            x: (B, 3, H, W) pictures normalised as Lite models are, sides multiples of 32; 256 at work.
        """
        features = self.encoder(x)
        levels = [features[4]]
        for up, skip in zip(self.ups, (features[3], features[2], features[1], features[0]), strict=True):
            levels.append(up(levels[-1], skip))
        maps = self.maps(levels[4]).float()
        return maps[:, :-1], maps[:, -1], self.beard(levels[2], levels[3])[:, 0].float()


class FinderNet(nn.Module):
    """A CenterNet of heads: where they are, their height and width, at stride 8 (Zhou et al. 2019, Objects as points)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(5)
        self.up = UpBlock(WIDTHS[3], WIDTHS[2], 64)
        self.wide = nn.Sequential(
            ConvNorm(64, 64, 5, groups=64), ConvNorm(64, 64, 1), ConvNorm(64, 64, 5, groups=64), ConvNorm(64, 64, 1)
        )
        self.maps = nn.Conv2d(64, 5, 1)
        assert self.maps.bias is not None
        with torch.no_grad():
            self.maps.bias.copy_(torch.tensor([-4.0, 0.0, 0.0, 0.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 5, H / 8, W / 8) of a (B, 3, H, W) picture, sides multiples of 16.

        Channels: logit of a head's centre; the centre's offset from the cell's middle in cells, x and y; logarithm of width
        and height in cells.
        """
        features = self.encoder(x)
        y: Tensor = self.maps(self.wide(self.up(features[3], features[2])))
        return y.float()


NETWORKS: dict[str, type[HeadNet] | type[ParserNet] | type[FinderNet]] = {
    "head": HeadNet, "parser": ParserNet, "finder": FinderNet,
}  # fmt: skip
"""The networks by the name of their task."""
