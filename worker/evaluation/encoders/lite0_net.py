"""EfficientNet-Lite0 (Tan and Le 2019, arXiv 1905.11946; its "lite" variant in TensorFlow), without the classifier.

The norms are folded into the convolutions, which is the same function in inference, so a layer is a kernel and a bias.
"""

from torch import Tensor, nn
from torch.nn import functional as F

STEM_WIDTH = 32
# For each stage: blocks, kernel, stride of the first block, expansion, width.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
BLOCK_WIDTHS = tuple(width for blocks, _, _, _, width in _STAGES for _ in range(blocks))
"""The channels after each of the 16 blocks."""


class Lite0(nn.Module):
    """(n, 3, h, w), h and w divisible by 32 -> the features after each of the first `depth` blocks, (n, c, h', w')."""

    def __init__(self, depth: int = len(BLOCK_WIDTHS)) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM_WIDTH, kernel=3, stride=2)
        blocks = []
        width = STEM_WIDTH
        for count, kernel, stride, expansion, wider in _STAGES:
            for number in range(count):
                blocks.append(_Block(width, wider, kernel, stride if number == 0 else 1, expansion))
                width = wider
        self.blocks = nn.ModuleList(blocks[:depth])

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = F.relu6(self.stem(pixels))
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class _Block(nn.Module):
    """Widen, convolve each channel by itself, narrow; added to what came in where the shapes are the same."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.widen = _Convolution(inputs, inner) if expansion > 1 else None
        self.each = _Convolution(inner, inner, kernel, stride, groups=inner)
        self.narrow = _Convolution(inner, outputs)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.widen is None else F.relu6(self.widen(x))
        y = self.narrow(F.relu6(self.each(y)))
        total: Tensor = x + y if self.adds else y
        return total


class _Convolution(nn.Conv2d):
    """With TensorFlow's padding "same" on sides that the stride divides: the odd pixel goes to the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        before = (kernel - stride) // 2
        after = kernel - stride - before
        self._sides = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self._sides) if any(self._sides) else x)
