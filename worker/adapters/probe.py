"""One look at what an imported adapter makes of a base: a step of denoising has to stay finite.

Numbers that are fine in a file may overflow in a base that computes in half precision, and draw black pictures.
"""

import torch

from app.domain.errors import Fault, InvalidAdapterError
from worker.adapters.accumulated import added, applied
from worker.adapters.factors import Adapter
from worker.models.base import Base

_SIDE = 64


@torch.no_grad()
def probe(base: Base, adapter: Adapter) -> None:
    """Predict once from noise, under the adapter.

    Raises:
        InvalidAdapterError: the prediction is not finite.
    """
    generator = torch.Generator().manual_seed(0)
    latents = base.encode_images(torch.zeros((1, 3, _SIDE, _SIDE))).sample(generator)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    timesteps = base.sample_timesteps(1, generator)
    prompt = base.encode_prompts(["a photo"])
    with applied(base.denoiser, added({}, adapter)):
        predicted = base.predict(base.add_noise(latents, noise, timesteps.to(latents.device)), timesteps, prompt)
    if not bool(torch.isfinite(predicted).all()):
        fault = Fault(field="file", message="under it the base predicts infinite values; is its scale right?")
        raise InvalidAdapterError("The adapter makes this base model overflow.", (fault,))
