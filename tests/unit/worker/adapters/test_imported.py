"""Adapters of other tools: what an export says comes back, and what diffusers makes of a file is made of it here."""

from collections.abc import Callable, Mapping

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.adapter_files.stability import Layout, stability_name
from app.domain.adapters import AdapterFormat, ImportOptions
from app.domain.base_models import Family
from app.domain.errors import InvalidAdapterError
from app.domain.strategies import MergeOptions
from tests.tiny_pipelines import tiny_base
from tests.tiny_sdxl import tiny_sdxl_base
from tests.unit.worker.adapters.random_adapters import random_adapter
from worker.adapters.accumulated import added
from worker.adapters.factors import to_bytes
from worker.adapters.imported import import_adapter
from worker.models.pipeline import PipelineBase
from worker.models.projections import adapted_projections

PLAIN = ImportOptions()
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
MODULES = (ATTENTION, ("to_q", "conv1", "conv_shortcut"), ("proj_in", "time_emb_proj", "conv_in", "to_k"))


@pytest.mark.parametrize(("base", "family"), [(tiny_base, Family.SD), (tiny_sdxl_base, Family.SDXL)])
@given(
    names=st.sampled_from(MODULES),
    ranks=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    scale=st.floats(0.1, 4),
    kind=st.sampled_from(list(AdapterFormat)),
)
@settings(max_examples=8, deadline=None)
def test_an_export_comes_back_as_the_same_update(
    base: Callable[[], PipelineBase],
    family: Family,
    names: tuple[str, ...],
    ranks: list[int],
    scale: float,
    kind: AdapterFormat,
) -> None:
    unet = base().denoiser
    adapters = [random_adapter(adapted_projections(unet, names), rank, rank, scale) for rank in ranks]
    update: Mapping[str, Tensor] = {}
    for adapter in adapters:
        update = added(update, adapter)
    links = [Link(MergeOptions(), to_bytes(adapter, {})) for adapter in adapters]
    data = export_adapter(links, Export(kind, family))
    found = import_adapter(data, unet, PLAIN)
    assert found.file.format is kind
    torch.testing.assert_close(dict(added({}, found.adapter)), dict(update), rtol=1e-5, atol=1e-5)


def _file(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    return save({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, metadata)


def _faults(data: bytes, unet: nn.Module, options: ImportOptions = PLAIN) -> dict[str, str]:
    with pytest.raises(InvalidAdapterError) as error:
        import_adapter(data, unet, options)
    return {fault.field: fault.message for fault in error.value.faults}


_PATH = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
_STYLES = {
    "peft": ("unet.{path}.to_q.lora_A.weight", "unet.{path}.to_q.lora_B.weight"),
    "peft's own": ("base_model.model.{path}.to_q.lora_A.weight", "base_model.model.{path}.to_q.lora_B.weight"),
    "older": ("unet.{path}.to_q.lora.down.weight", "unet.{path}.to_q.lora.up.weight"),
    "oldest": ("unet.{path}.processor.to_q_lora.down.weight", "unet.{path}.processor.to_q_lora.up.weight"),
    "kohya": ("lora_unet_{under}_to_q.lora_down.weight", "lora_unet_{under}_to_q.lora_up.weight"),
}


@pytest.mark.parametrize("style", _STYLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_all_spellings_of_a_layer_mean_it(style: str, dtype: torch.dtype) -> None:
    unet = tiny_base().denoiser
    factors = random_adapter({f"{_PATH}.to_q": unet.get_submodule(f"{_PATH}.to_q")}, 2, 1).modules[f"{_PATH}.to_q"]  # type: ignore[dict-item]
    down, up = (name.format(path=_PATH, under=_PATH.replace(".", "_")) for name in _STYLES[style])
    data = _file({down: factors.a.to(dtype), up: factors.b.to(dtype)})
    # peft's own names leave it open.
    options = ImportOptions(scale=1) if style == "peft's own" else PLAIN
    found = import_adapter(data, unet, options).adapter
    assert list(found.modules) == [f"{_PATH}.to_q"]
    expected = factors.b.to(dtype).double() @ factors.a.to(dtype).double()
    torch.testing.assert_close(found.delta(f"{_PATH}.to_q").double(), expected, rtol=1e-5, atol=1e-6)


def test_an_alpha_scales_wherever_it_is_told() -> None:
    unet = tiny_base().denoiser
    name, under = f"{_PATH}.to_q", f"lora_unet_{_PATH.replace('.', '_')}_to_q"
    a, b = torch.randn(4, 16), torch.randn(16, 4)
    kohya = {f"{under}.lora_down.weight": a, f"{under}.lora_up.weight": b, f"{under}.alpha": torch.tensor(1.0)}
    peft = {f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b}
    for_all = {"lora_adapter_metadata": '{"unet.r": 4, "unet.lora_alpha": 1}'}
    own = {"lora_adapter_metadata": '{"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}'}
    # Of several that fit, the first; a name's mere ending is none.
    several = {"lora_adapter_metadata": '{"unet.alpha_pattern": {"1.to_q": 8, "to_q": 1, "attn1.to_q": 8}}'}
    for data in (_file(kohya), _file(peft, for_all), _file(peft, own), _file(peft, several)):
        delta = import_adapter(data, unet, PLAIN).adapter.delta(name)
        torch.testing.assert_close(delta, b @ a / 4)


def test_everything_that_does_not_fit_is_listed() -> None:
    unet = tiny_base().denoiser
    prefix = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0"
    a, b = torch.zeros(2, 16), torch.zeros(16, 2)
    data = _file(
        {
            f"{prefix}_attn1_to_q.lora_down.weight": torch.zeros(2, 15),
            f"{prefix}_attn1_to_q.lora_up.weight": b,
            f"{prefix}_attn3_to_q.lora_down.weight": a,
            f"{prefix}_attn3_to_q.lora_up.weight": b,
            f"{prefix}_attn1_to_k.lora_down.weight": a,
            f"{prefix}_attn1_to_k.lora_up.weight": torch.full((16, 2), torch.inf),
        }
    )
    assert _faults(data, unet) == {
        f"{prefix}_attn1_to_q.lora_down.weight": "an update of 16 x 15 for a layer of 16 x 16",
        f"{prefix}_attn3_to_q.lora_down.weight": "the base model has no such linear or convolutional layer",
        f"{prefix}_attn1_to_k.lora_down.weight": "a value is infinite or not a number",
    }


def test_what_safetensors_itself_refuses_is_no_adapter() -> None:
    tensors = {"unet.x.lora_A.weight": torch.ones(2, 4), "unet.x.lora_B.weight": torch.ones(4, 2)}
    data = _file(tensors)
    length = int.from_bytes(data[:8], "little")
    header = b" " + data[8 : 8 + length]
    with pytest.raises(InvalidAdapterError):
        import_adapter(
            len(header).to_bytes(8, "little") + header + data[8 + length :],
            tiny_base().denoiser,
            ImportOptions(),
        )


def test_text_encoders_are_left_out_only_on_request() -> None:
    unet = tiny_base().denoiser
    under = f"lora_unet_{_PATH.replace('.', '_')}_to_q"
    data = _file(
        {
            f"{under}.lora_down.weight": torch.ones(2, 16),
            f"{under}.lora_up.weight": torch.ones(16, 2),
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(2, 8),
        }
    )
    assert list(_faults(data, unet)) == ["text_encoder"]
    found = import_adapter(data, unet, ImportOptions(ignore_text_encoder=True))
    assert (list(found.adapter.modules), found.file.text_encoder_tensors) == ([f"{_PATH}.to_q"], 1)


def test_stabilitys_names_mean_what_diffusers_takes_them_for() -> None:
    """The oracle is diffusers' own converter, for every layer of the attentions, the residual blocks and between."""
    base = tiny_sdxl_base()
    unet = base.denoiser
    layers = {path: m for path, m in unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    layout = Layout(unet.config.layers_per_block, frozenset({0, 1}))  # type: ignore[union-attr, arg-type]
    named = {path: other for path in layers if (other := stability_name(layout, path)) is not None}
    assert len(set(named.values())) == len(layers)
    tensors: dict[str, Tensor] = {}
    for number, (path, other) in enumerate(named.items()):
        adapter = random_adapter({path: layers[path]}, 1, number)
        down, up = adapter.modules[path].unflattened()
        name = f"lora_unet_{other.replace('.', '_')}"
        tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(1.0)}
    found = import_adapter(_file(tensors), unet, PLAIN).adapter
    expected, _ = StableDiffusionXLPipeline.lora_state_dict(dict(tensors), unet_config=unet.config)
    blocks = {key: tensor for key, tensor in expected.items() if "attentions" in key or "resnets" in key}
    converted = import_adapter(_file(blocks), unet, PLAIN).adapter
    assert len(converted.modules) > 50
    for path in converted.modules:
        torch.testing.assert_close(found.delta(path), converted.delta(path))
