"""A tiny pipeline's weights in one checkpoint: under the names of the first code of Stable Diffusion, and of SDXL's."""

import re
from collections.abc import Mapping

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BESIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_OPEN_CLIP = {
    "encoder.layers": "transformer.resblocks",
    "self_attn": "attn",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "final_layer_norm": "ln_final",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def _unet_name(name: str, has_attention: list[bool], per_level: int) -> str:
    path, _, last = name.rpartition(".")
    if path in _BESIDE_BLOCKS:
        return f"{_BESIDE_BLOCKS[path]}.{last}"
    for old, new in _RESNET.items():
        name = re.sub(rf"(resnets\.\d)\.{old}\.", rf"\1.{new}.", name)
    mid = {"mid_block.resnets.0": "middle_block.0", "mid_block.attentions.0": "middle_block.1"}
    for old, new in (mid | {"mid_block.resnets.1": "middle_block.2"}).items():
        name = name.replace(old, new)

    def at(match: re.Match[str], base: int) -> int:
        return base + per_level * int(match[1]) + int(match[2])

    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{at(m, 1)}.0", name)
    name = re.sub(r"down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{at(m, 1)}.1", name)
    name = re.sub(
        r"down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{per_level * (int(m[1]) + 1)}.0.op", name
    )
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{at(m, 0)}.0", name)
    name = re.sub(r"up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{at(m, 0)}.1", name)
    return re.sub(
        r"up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda m: f"output_blocks.{per_level * int(m[1]) + 1}.{2 if has_attention[int(m[1])] else 1}.conv",
        name,
    )


def _vae_name(name: str) -> str:
    name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
    name = name.replace("mid_block.attentions.0", "mid.attn_1").replace("conv_shortcut", "nin_shortcut")
    name = name.replace("conv_norm_out", "norm_out")
    for old, new in _VAE_ATTENTION.items():
        name = name.replace(f"mid.attn_1.{old}.", f"mid.attn_1.{new}.")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{3 - int(m[1])}.block.{m[2]}", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)


def checkpoint_of(pipeline: StableDiffusionPipeline | StableDiffusionXLPipeline) -> dict[str, Tensor]:
    """All weights of a tiny pipeline under the names of a single checkpoint."""
    unet = pipeline.unet
    has_attention = [hasattr(block, "attentions") for block in unet.up_blocks]
    tensors = {
        f"model.diffusion_model.{_unet_name(name, has_attention, unet.config.layers_per_block + 1)}": tensor
        for name, tensor in unet.state_dict().items()
    }
    for name, tensor in pipeline.vae.state_dict().items():
        new = _vae_name(name)
        is_matrix = "attn_1" in new and tensor.ndim == 2
        tensors[f"first_stage_model.{new}"] = tensor[:, :, None, None] if is_matrix else tensor
    is_xl = isinstance(pipeline, StableDiffusionXLPipeline)
    first = "conditioner.embedders.0.transformer" if is_xl else "cond_stage_model.transformer"
    for name, tensor in pipeline.text_encoder.state_dict().items():
        tensors[f"{first}.text_model.{name.removeprefix('text_model.')}"] = tensor
    if is_xl:
        second = _open_clip(pipeline.text_encoder_2.state_dict())
        tensors |= {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in second.items()}
    return {name: tensor.contiguous().clone() for name, tensor in tensors.items()}


def _open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SDXL's second encoder as OpenCLIP names it: queries, keys and values in one, the projection on its side."""
    state = {name.removeprefix("text_model."): tensor for name, tensor in state.items()}
    tensors = {
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "text_projection": state["text_projection.weight"].T,
    }
    for name, tensor in state.items():
        for old, new in _OPEN_CLIP.items():
            name = name.replace(old, new)
        if name.startswith(("ln_final", "transformer")) and "_proj." not in name.replace("out_proj.", "").replace(
            "c_proj.", ""
        ):
            tensors[name] = tensor
    layers = {name.rpartition(".self_attn")[0] for name in state if ".self_attn" in name}
    for layer in layers:
        for kind in ("weight", "bias"):
            parts = [state[f"{layer}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            tensors[f"{layer.replace('encoder.layers', 'transformer.resblocks')}.attn.in_proj_{kind}"] = torch.cat(
                parts
            )
    return tensors
