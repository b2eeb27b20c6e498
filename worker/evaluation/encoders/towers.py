"""Published vision transformers as encoders: DINO for objects, CLIP for both, CSD for styles.

DINO (Caron et al. 2021, arXiv 2104.14294; DINOv2, arXiv 2304.07193): the class token of the last layer.
CLIP (Radford et al. 2021, arXiv 2103.00020): the projected image feature.
CSD (Somepalli et al. 2024, arXiv 2404.01292): CLIP's tower, fine-tuned, under a projection of its own for style.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoImageProcessor,
    CLIPVisionModelWithProjection,
    Dinov2Model,
    Dinov2WithRegistersModel,
    PretrainedConfig,
    PreTrainedModel,
    ViTModel,
)

from worker.evaluation.encoders import hub
from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.csd import clip_processor, load_csd_tower
from worker.evaluation.encoders.image_tensors import flatten

_BATCH = 16
_DINO_CLASSES = {"vit": ViTModel, "dinov2": Dinov2Model, "dinov2_with_registers": Dinov2WithRegistersModel}

Processor = Callable[..., Any]


@dataclass(frozen=True)
class Tower:
    """A loaded model, how pictures are prepared for it, and which of its outputs is the embedding."""

    model: PreTrainedModel
    processor: Processor
    feature: Callable[[Any], Tensor]


class TowerEncoder:
    """A tower as an `Encoder`, in fp32."""

    def __init__(self, name: str, tower: Tower, fingerprint: str, device: torch.device) -> None:
        self._name = name
        self._tower = tower
        self._fingerprint = fingerprint
        self._device = device
        tower.model.to(device).eval().requires_grad_(False)

    @property
    def name(self) -> str:
        return self._name

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    @torch.no_grad()
    def embed(self, images: Sequence[Image.Image]) -> Tensor:
        starts = range(0, len(images), _BATCH)
        return torch.cat([self._embed_batch(images[start : start + _BATCH]) for start in starts])

    def _embed_batch(self, images: Sequence[Image.Image]) -> Tensor:
        flat = [flatten(image) for image in images]
        pixels = self._tower.processor(images=flat, return_tensors="pt")["pixel_values"]
        features = self._tower.feature(self._tower.model(pixel_values=pixels.to(self._device)))
        return F.normalize(features.float(), dim=1).cpu()


def load_dino(folder: Path) -> Tower:
    kind = PretrainedConfig.get_config_dict(folder)[0].get("model_type")
    if kind not in _DINO_CLASSES:
        raise EncoderError(f"The encoder in {folder.name!r} is a {kind!r}, none of: {', '.join(_DINO_CLASSES)}.")
    extra = {"add_pooling_layer": False} if kind == "vit" else {}
    model = _load(_DINO_CLASSES[kind], folder, **extra)
    return Tower(model, _processor(folder), lambda outputs: outputs.last_hidden_state[:, 0])


def load_clip(folder: Path) -> Tower:
    """From a whole CLIP or from its vision half; the text half is not loaded."""
    model = _load(CLIPVisionModelWithProjection, folder)
    return Tower(model, _processor(folder), lambda outputs: outputs.image_embeds)


def load_csd(folder: Path) -> Tower:
    model = load_csd_tower(hub.weights(folder)[0])
    return Tower(model, clip_processor(model.config.image_size), lambda outputs: outputs.image_embeds)


def _load(kind: type[PreTrainedModel], folder: Path, **options: bool) -> PreTrainedModel:
    """Raises ValueError where weights are missing: transformers itself would make them up."""
    model, report = kind.from_pretrained(
        folder,
        use_safetensors=True,
        local_files_only=True,
        dtype=torch.float32,
        output_loading_info=True,
        **options,
    )
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ValueError(f"it is no {kind.__name__}")
    return model


def _processor(folder: Path) -> Processor:
    # The other backend is torchvision, which is not installed.
    processor: Processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    return processor


def load_tower(name: str, load: Callable[[Path], Tower], source: str, device: torch.device) -> TowerEncoder:
    """The encoder whose files are in `source`, a folder or a hub id.

    Raises:
        EncoderError: it cannot be loaded.
    """
    folder = hub.resolve(source)
    fingerprint = hub.fingerprint(folder)
    try:
        return TowerEncoder(name, load(folder), fingerprint, device)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise EncoderError(f"The encoder {name!r} cannot be loaded: {str(error).partition(chr(10))[0]}") from error
