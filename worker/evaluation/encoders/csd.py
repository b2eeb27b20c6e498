"""CSD's published weights as a transformers model.

They are published with OpenAI's names (`backbone.` for the tower without its projection, `last_layer_style` and
`last_layer_content` for the two that replace it), which transformers does not read; the computation is CLIP's.
"""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

_BLOCKS = "backbone.transformer.resblocks"
# OpenAI fixed the width of a head, whatever the tower's.
_HEAD_WIDTH = 64
_NAMES = {
    "embeddings.class_embedding": "backbone.class_embedding",
    "embeddings.patch_embedding.weight": "backbone.conv1.weight",
    "embeddings.position_embedding.weight": "backbone.positional_embedding",
    "pre_layrnorm": "backbone.ln_pre",
    "post_layernorm": "backbone.ln_post",
}
_NAMES_IN_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def load_csd_tower(file: Path) -> CLIPVisionModelWithProjection:
    """CLIP's tower under CSD's style projection, in fp32; the sizes follow from the tensors' shapes.

    Raises:
        KeyError: the tensors are not named as CSD's are.
    """
    published = {name: tensor.float() for name, tensor in load_file(file).items()}
    model = CLIPVisionModelWithProjection(_configuration(published))
    model.load_state_dict(_renamed(published, model.config.num_hidden_layers), strict=True)
    return model


def clip_processor(side: int) -> CLIPImageProcessorPil:
    """CLIP's own preparation: bicubic to the shorter side, the middle, its mean and spread."""
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def _configuration(published: Mapping[str, Tensor]) -> CLIPVisionConfig:
    width, _, patch, _ = published["backbone.conv1.weight"].shape
    places = len(published["backbone.positional_embedding"]) - 1
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=len(published[f"{_BLOCKS}.0.mlp.c_fc.bias"]),
        projection_dim=published["last_layer_style"].shape[1],
        num_hidden_layers=sum(name.startswith(_BLOCKS) and name.endswith("ln_1.bias") for name in published),
        num_attention_heads=max(1, width // _HEAD_WIDTH),
        image_size=patch * round(places**0.5),
        patch_size=patch,
        hidden_act="quick_gelu",
    )


def _renamed(published: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    pairs = dict(_NAMES)
    named = {"visual_projection.weight": published["last_layer_style"].T.contiguous()}
    for layer in range(layers):
        ours, theirs = f"encoder.layers.{layer}", f"{_BLOCKS}.{layer}"
        pairs |= {f"{ours}.{a}": f"{theirs}.{b}" for a, b in _NAMES_IN_BLOCK.items()}
        for kind in ("weight", "bias"):
            # Query, key and value, one above the other.
            parts = published[f"{theirs}.attn.in_proj_{kind}"].chunk(3)
            for projection, part in zip(("q_proj", "k_proj", "v_proj"), parts, strict=True):
                named[f"vision_model.{ours}.self_attn.{projection}.{kind}"] = part.contiguous()
    for our_name, their_name in pairs.items():
        if their_name in published:
            named[f"vision_model.{our_name}"] = published[their_name]
        else:
            for kind in ("weight", "bias"):
                named[f"vision_model.{our_name}.{kind}"] = published[f"{their_name}.{kind}"]
    return named
