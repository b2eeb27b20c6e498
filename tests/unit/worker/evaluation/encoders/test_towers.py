"""Published families, on tiny random models of the same classes: the embedding is what the model computes directly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
    ViTConfig,
    ViTModel,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from tests.unit.worker.evaluation.encoders.openai_tower import OpenAITower
from tests.unit.worker.evaluation.encoders.properties import assert_is_an_encoder, assert_sees_size_little, noise
from worker.evaluation.encoders.base import EncoderError
from worker.evaluation.encoders.encoder_registry import load_encoder

SIDE = 32
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": SIDE,
    "patch_size": 8,
}


def normalised(seed: int, mean: list[float], std: list[float]) -> Tensor:
    """The test picture at the model's own size, prepared with numpy: (1, 3, 32, 32)."""
    pixels = (np.asarray(noise(seed, SIDE), dtype=np.float64) / 255 - mean) / std
    return torch.tensor(pixels.transpose(2, 0, 1)[None], dtype=torch.float32)


def save_dino(folder: Path, model: ViTModel | Dinov2Model) -> None:
    model.eval().save_pretrained(folder)
    ViTImageProcessorPil(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


@pytest.mark.parametrize("kind", ["vit", "dinov2"])
def test_dino_is_the_class_token(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**SIZES)) if kind == "vit" else Dinov2Model(Dinov2Config(**SIZES))
    save_dino(tmp_path, model)
    encoder = load_encoder(f"dino:{tmp_path}")
    half = [0.5, 0.5, 0.5]
    with torch.no_grad():
        token = model(pixel_values=normalised(5, half, half)).last_hidden_state[:, 0]
    assert_close(encoder.embed([noise(5, SIDE)]), F.normalize(token, dim=1), atol=1e-5, rtol=0)
    assert_is_an_encoder(encoder)
    assert_sees_size_little(encoder)


CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]


def test_clip_is_the_image_feature_of_the_whole_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = CLIPTextConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    halves = {"text_config": text.to_dict(), "vision_config": CLIPVisionConfig(**SIZES, projection_dim=24).to_dict()}
    model = CLIPModel(CLIPConfig(**halves, projection_dim=24)).eval()
    model.save_pretrained(tmp_path)
    square = {"height": SIDE, "width": SIDE}
    CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size=square).save_pretrained(tmp_path)
    encoder = load_encoder(f"clip:{tmp_path}")
    with torch.no_grad():
        feature = model.get_image_features(normalised(5, CLIP_MEAN, CLIP_STD)).pooler_output
    assert_close(encoder.embed([noise(5, SIDE)]), F.normalize(feature, dim=1), atol=1e-5, rtol=0)
    assert_is_an_encoder(encoder)
    assert_sees_size_little(encoder)


def test_csd_is_the_style_projection_of_openai_s_tower(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = OpenAITower(width=128, layers=2, patch=8, side=SIDE)
    style, content = torch.randn(128, 24), torch.randn(128, 24)
    weights = {f"backbone.{name}": tensor for name, tensor in tower.state_dict().items()}
    save_file({**weights, "last_layer_style": style, "last_layer_content": content}, tmp_path / "model.safetensors")
    encoder = load_encoder(f"csd:{tmp_path}")
    with torch.no_grad():
        feature = tower(normalised(5, CLIP_MEAN, CLIP_STD)) @ style
    assert_close(encoder.embed([noise(5, SIDE)]), F.normalize(feature, dim=1), atol=1e-5, rtol=0)
    assert_is_an_encoder(encoder)
    assert_sees_size_little(encoder)


def test_other_weights_have_another_fingerprint(tmp_path: Path) -> None:
    fingerprints = set()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        save_dino(tmp_path, ViTModel(ViTConfig(**SIZES)))
        fingerprints.add(load_encoder(f"dino:{tmp_path}").fingerprint)
    assert len(fingerprints) == 2


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    model = ViTModel(ViTConfig(**SIZES))
    save_dino(tmp_path, model)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="no safetensors"):
        load_encoder(f"dino:{tmp_path}")


@pytest.mark.parametrize("family", ["clip", "csd"])
def test_another_family_s_folder_is_refused(tmp_path: Path, family: str) -> None:
    save_dino(tmp_path, ViTModel(ViTConfig(**SIZES)))
    with pytest.raises(EncoderError, match="cannot be loaded"):
        load_encoder(f"{family}:{tmp_path}")


@pytest.mark.parametrize("name", ["icons-64", "dino", "dino:", "resnet:somewhere"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(EncoderError, match=r"known are: lite0-what, icons-64-what, icons-64-how, dino:SOURCE"):
        load_encoder(name)
