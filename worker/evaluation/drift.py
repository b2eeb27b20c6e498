"""How far a version's predictions have moved from the base's where nothing that it learned is asked for."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from app.domain.errors import NotFiniteError
from worker.adapters.accumulated import Update, applied
from worker.evaluation.evaluation_task import EvaluationHooks, Subject
from worker.evaluation.metrics import FloatArray, base_drift
from worker.models.base import Base, Conditioning, Sampling

_SAMPLING_STEPS = 10
_NOISES_PER_PROMPT = 8
# Guidance would draw from another distribution than the one that the base has learned.
_NO_GUIDANCE = 1.0
# A large base has little room for a batch beside its weights.
_BATCH = 4


@dataclass(frozen=True)
class _Probe:
    """Noised latents (N x C x h x w) of what the base draws for neutral prompts; the same for every version."""

    noisy: Tensor
    timesteps: Tensor
    conditioning: Conditioning


@dataclass(frozen=True)
class DriftMeter:
    """Measures subjects against the base; draws and predicts only for one that was not measured before."""

    base: Base
    prompts: Sequence[str]
    resolution: int
    seed: int
    hooks: EvaluationHooks

    def of(self, subject: Subject) -> float:
        """`E|f - f_0|^2 / E|f_0|^2`; NaN if the base predicts nothing but zeros.

        Raises:
            NotFiniteError: a prediction is not finite.
        """
        key = self._key(subject)
        if (known := subject.store.get(key)) is not None:
            return float(json.loads(known))
        base_predictions = self._base_predictions  # first: it draws the probe, which the base alone must do
        drift = base_drift(self._predictions(subject.update), base_predictions)
        subject.store.put(key, json.dumps(drift).encode(), "application/json")
        return drift

    def _key(self, subject: Subject) -> str:
        about = ["drift", subject.key, list(self.prompts), self.resolution, self.seed]
        about += [_SAMPLING_STEPS, _NOISES_PER_PROMPT]
        return hashlib.sha256(json.dumps(about).encode()).hexdigest()

    @cached_property
    def _probe(self) -> _Probe:
        """One latent for each prompt, drawn by the base, each with several noises at timesteps of their own."""
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [self._latents(prompt, generator) for prompt in self.prompts]
        rows = torch.arange(len(drawn)).repeat_interleave(_NOISES_PER_PROMPT)
        latents = torch.cat(drawn).float()[rows.to(drawn[0].device)]
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        timesteps = self.base.sample_timesteps(len(rows), generator)
        noisy = self.base.add_noise(latents, noise, timesteps)
        return _Probe(noisy, timesteps, self.base.encode_prompts(list(self.prompts)).rows(rows))

    def _latents(self, prompt: str, generator: torch.Generator) -> Tensor:
        sampling = Sampling(
            prompt=prompt,
            negative_prompt=None,
            steps=_SAMPLING_STEPS,
            guidance_scale=_NO_GUIDANCE,
            width=self.resolution,
            height=self.resolution,
        )
        return self.base.sample_latents(sampling, [generator], lambda *_: self.hooks.work())

    @cached_property
    def _base_predictions(self) -> FloatArray:
        return self._predictions(lambda _: {})

    @torch.no_grad()
    def _predictions(self, update: Callable[[str], Update]) -> FloatArray:
        """`f(x, tau, c)` of the base with the update, N x C x h x w."""
        parts: list[FloatArray] = []
        for n, prompt in enumerate(self.prompts):
            with applied(self.base.denoiser, update(prompt)):
                own = torch.arange(n * _NOISES_PER_PROMPT, (n + 1) * _NOISES_PER_PROMPT)
                parts += [self._predicted(rows) for rows in own.split(_BATCH)]
        return np.concatenate(parts)

    def _predicted(self, rows: Tensor) -> FloatArray:
        """That of some rows, by the base as it computes now."""
        probe = self._probe
        noisy, timesteps = probe.noisy[rows.to(probe.noisy.device)], probe.timesteps[rows.to(probe.timesteps.device)]
        predicted = self.base.predict(noisy, timesteps, probe.conditioning.rows(rows))
        self.hooks.work()
        if not bool(torch.isfinite(predicted).all()):
            raise NotFiniteError("What a version predicts for neutral prompts is not finite: its update is too strong.")
        as_numpy: FloatArray = predicted.double().cpu().numpy()
        return as_numpy
