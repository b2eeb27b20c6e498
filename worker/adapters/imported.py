"""From another tool's LoRA file to an adapter of this base: names resolved, shapes checked, the scale folded into B."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.adapter_files.header import read_header
from app.adapter_files.names import LoraFile, LoraModule, read_lora, refuse
from app.domain.adapters import AdapterFormat
from app.domain.errors import Fault, InvalidAdapterError
from worker.adapters.factors import Adapter, Factors
from worker.adapters.sgm_names import sgm_name
from worker.adapters.tensor_file import TensorFileError, unpack
from worker.models.projections import Projection


@dataclass(frozen=True)
class Imported:
    """The adapter, at scale 1, and what the file was."""

    adapter: Adapter
    file: LoraFile


def import_adapter(data: bytes, denoiser: nn.Module, *, ignore_text_encoder: bool) -> Imported:
    """The adapter in a LoRA file of another tool: `B A` of each module is the update that the file means for it.

    Raises:
        InvalidAdapterError: the file is no LoRA, or not of this base; the faults name every module that does not fit.
    """
    file = read_lora(read_header(io.BytesIO(data), len(data)), ignore_text_encoder=ignore_text_encoder)
    tensors = _tensors(data)
    paths = _paths(denoiser, file.format)
    modules: dict[str, Factors] = {}
    faults: list[Fault] = []
    for module in file.modules:
        path = paths.get(module.name)
        if path is None:
            faults.append(Fault(field=module.name, message="the base model has no such linear or convolutional layer"))
            continue
        factors = _factors(module, tensors)
        layer = denoiser.get_submodule(path)
        assert isinstance(layer, Projection)
        if fault := _misfit(factors, layer):
            faults.append(Fault(field=module.name, message=fault))
        elif path in modules:
            faults.append(Fault(field=module.name, message=f"{path} has factors under another name already"))
        else:
            modules[path] = Factors(factors.a.flatten(1), factors.b.flatten(1), _kernel(layer))
    refuse(faults)
    return Imported(Adapter(1.0, dict(sorted(modules.items()))), file)


def _tensors(data: bytes) -> Mapping[str, Tensor]:
    try:
        return unpack(data)[0]
    except TensorFileError as error:
        raise InvalidAdapterError(f"The file cannot be imported: {error}.") from error


def _paths(denoiser: nn.Module, kind: AdapterFormat) -> Mapping[str, str]:
    """Each layer's path by its name in a file of that format; kohya's names leave open which underscore was a dot."""
    layers = [path for path, module in denoiser.named_modules() if isinstance(module, Projection)]
    if kind is AdapterFormat.DIFFUSERS:
        return {path: path for path in layers}
    others = {other.replace(".", "_"): path for path in layers if (other := sgm_name(denoiser, path)) is not None}
    return others | {path.replace(".", "_"): path for path in layers}


@dataclass(frozen=True)
class _Given:
    """Factors in the dimensions that the file gives them, fp32, the scale in `b`."""

    a: Tensor
    b: Tensor


def _factors(module: LoraModule, tensors: Mapping[str, Tensor]) -> _Given:
    alpha = module.header_alpha if module.alpha is None else float(tensors[module.alpha])
    scale = 1.0 if alpha is None else alpha / module.rank
    down, up = (tensors[name].to(torch.float32) for name in (module.down, module.up))
    return _Given(down, scale * up)


def _misfit(given: _Given, layer: Projection) -> str | None:
    """Why the factors are none of this layer, if so. A linear layer and a convolution of 1 x 1 are the same thing."""
    kernel, own = tuple(given.a.shape[2:]) or (1, 1), _kernel(layer) or (1, 1)
    found = (given.b.shape[0], given.a.shape[1], *kernel)
    expected = (*layer.weight.shape[:2], *own)
    if found != expected:
        return f"an update of {_by(found)} for a layer of {_by(expected)}"
    if not all(bool(torch.isfinite(part).all()) for part in (given.a, given.b)):
        return "a value is infinite or not a number"
    return None


def _kernel(layer: Projection) -> tuple[int, int] | None:
    return (layer.weight.shape[2], layer.weight.shape[3]) if isinstance(layer, nn.Conv2d) else None


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape if shape[2:] != (1, 1) else shape[:2]))
