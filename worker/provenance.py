"""What a version remembers of the machine and the code that made it."""

import platform
from importlib.metadata import version

import torch

from app.domain.lineages import Machine

_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")


def describe_machine(device: torch.device) -> Machine:
    """This process's device, thread count, code and library versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Machine(
        device=f"{device.type} ({name})",
        torch_threads=torch.get_num_threads(),
        code_version=version("palimpsest"),
        python_version=platform.python_version(),
        libraries={library: version(library) for library in _LIBRARIES},
    )
