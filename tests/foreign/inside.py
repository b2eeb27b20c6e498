"""What runs in the environment of the other tools, which knows nothing of Palimpsest: `python inside.py FOLDER`.

In each base's folder it loads our exports into a UNet and writes down what every layer gained. It saves them again as
diffusers and peft do. And LyCORIS makes files by each of its methods, beside what its layers compute with them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from diffusers.utils import convert_state_dict_to_diffusers
from inside_methods import METHODS, SCALES
from lycoris import LycorisNetwork, create_lycoris
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file


def load(folder: Path, config: dict[str, Any], kind: str) -> None:
    """Load one of our exports, and write down and save again what came of it."""
    unet = UNet2DConditionModel(**config)
    pipeline = StableDiffusionXLPipeline if "addition_embed_type" in config else StableDiffusionPipeline
    state, alphas = pipeline.lora_state_dict(str(folder / f"{kind}.safetensors"), unet_config=unet.config)
    pipeline.load_lora_into_unet(state, alphas, unet)
    layers = {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}
    found = {name: layer.get_delta_weight("default_0").contiguous() for name, layer in layers.items()}
    save_file({name: delta.detach() for name, delta in found.items()}, folder / f"{kind}.found.safetensors")
    peft = get_peft_model_state_dict(unet, adapter_name="default_0")
    save_file(
        {f"base_model.model.{name}": part.contiguous() for name, part in peft.items()},
        folder / f"{kind}.peft.safetensors",
    )
    (folder / f"{kind}.config.json").write_text(json.dumps(unet.peft_config["default_0"].to_dict(), default=_plain))
    layers_to_save = convert_state_dict_to_diffusers(peft)
    pipeline.save_lora_weights(folder, unet_lora_layers=layers_to_save, weight_name=f"{kind}.saved.safetensors")


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else str(value)


def produce(folder: Path, unet: Any, name: str, scale: float) -> None:
    """A file by a method of LyCORIS, with random factors; and what each layer makes of a random input with it on.

    That is what was trained. The merging of LyCORIS 4.1 is no witness: it scales LoHa and LoKr twice.
    """
    LycorisNetwork.apply_preset({"target_module": ["Attention", "ResnetBlock2D"]})
    options = {"linear_dim": 4, "conv_dim": 4, **METHODS[name]}
    alpha = scale * options["linear_dim"]
    network = create_lycoris(unet, 1.0, linear_alpha=alpha, conv_alpha=alpha, **options)
    for lora in network.loras:
        # As `apply_to` does, which would also change the UNet.
        network.add_module(lora.lora_name, lora)
    draw = torch.Generator().manual_seed(0)
    for name_of, parameter in network.named_parameters():
        if not name_of.endswith(("bias", "diff_b")):
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=draw))
    network.save_weights(str(folder / f"lycoris-{name}-{scale}.safetensors"), torch.float32, {})
    seen = {}
    paths = {module: path for path, module in unet.named_modules()}
    for lora in network.double().eval().loras:
        layer, path = lora.org_module[0], paths[lora.org_module[0]]
        x = torch.randn(_input(layer), generator=draw, dtype=torch.float64)
        seen[f"{path}.x"], seen[f"{path}.y"] = x, (lora(x) - layer(x)).detach()
    save_file(seen, folder / f"lycoris-{name}-{scale}.seen.safetensors")


def _input(layer: Any) -> tuple[int, ...]:
    return (2, layer.in_features) if isinstance(layer, torch.nn.Linear) else (1, layer.in_channels, 5, 5)


def main() -> None:
    """All that there is to do in the folder."""
    torch.manual_seed(0)
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        config = json.loads((folder / "unet.json").read_text())
        for kind in ("kohya", "diffusers"):
            load(folder, config, kind)
        if folder.name == "sd15":
            unet = UNet2DConditionModel(**config)
            save_file(
                {name: part.contiguous() for name, part in unet.state_dict().items()}, folder / "unet.safetensors"
            )
            unet.double()
            for name in METHODS:
                for scale in SCALES:
                    produce(folder, unet, name, scale)


if __name__ == "__main__":
    main()
