"""Pictures to tensors, by hand: the fast image processors of transformers want torchvision."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def flatten(image: Image.Image) -> Image.Image:
    """As RGB; what is transparent shows white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    canvas = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(canvas, layer).convert("RGB")


def to_tensor(image: Image.Image) -> Tensor:
    """RGB -> (3, h, w) fp32 in 0 to 1."""
    return torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1).div(255.0)
