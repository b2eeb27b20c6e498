"""What a version remembers of the machine and the code that made it."""

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch

from app.domain.lineages import Machine

_LIBRARIES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy")
_ROOT = Path(__file__).parents[2]
# What a training runs; how a job came to it, and who asked for it, changes no bit.
_CODE = ("app/domain", "worker/adapters", "worker/models", "worker/strategies", "worker/training")
_CPU_INFO = Path("/proc/cpuinfo")


def describe_machine(device: torch.device) -> Machine:
    """This process's device, processor, thread count, code and library versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return Machine(
        device=f"{device.type} ({name})",
        processor=_processor(),
        torch_threads=torch.get_num_threads(),
        code_version=version("palimpsest"),
        code_sha256=_code_sha256(),
        python_version=platform.python_version(),
        libraries={library: version(library) for library in _LIBRARIES},
    )


@lru_cache
def _processor() -> str:
    """Its name, and the instructions that torch uses of it: kernels for other ones sum in another order."""
    lines = _CPU_INFO.read_text(encoding="utf-8").splitlines() if _CPU_INFO.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{name or platform.processor() or platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"


@lru_cache
def _code_sha256() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for folder in _CODE for path in (_ROOT / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(_ROOT).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()
