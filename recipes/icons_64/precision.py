"""In which precision the recipe computes: bf16 where the hardware has it, fp32 elsewhere."""

import torch

from worker.models.device import pick_dtype


def computes_in_bf16(device: torch.device) -> bool:
    """Whether bf16 saves time there. A CPU without instructions for it emulates it, at a quarter of fp32's speed."""
    if device.type != "cpu":
        return pick_dtype(device) == torch.bfloat16
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def mixed_precision(device: torch.device) -> torch.autocast:
    """Products and convolutions in bf16 within it, or everything in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=computes_in_bf16(device))
