"""What every run needs loaded: the base with its manifest, and the encoders that judge its pictures."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from app.domain.base import Value
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind
from app.domain.evaluations import Encoders as EncoderNames
from benchmarks.drawing import Sampler, Wanted, draw
from benchmarks.experiments.concepts import Asked
from benchmarks.experiments.scoring import Encoders
from worker.adapters.accumulated import Update, applied
from worker.evaluation.encoders.encoder_registry import load_encoder
from worker.models.loading import load_base
from worker.models.sd import StableDiffusionBase

EMBEDDED_BASE = Path(__file__).parents[2] / "base_models" / "icons-64"


def read_manifest(model: Path) -> BaseModelManifest:
    """What the base model in that folder says of itself."""
    return BaseModelManifest.model_validate_json((model / "palimpsest.json").read_text(encoding="utf-8"))


def load_encoders() -> Encoders:
    """The embedded encoders by the kind of concept; our own of objects stands beside the one from outside."""
    names = EncoderNames()
    return Encoders(
        first={kind: load_encoder(names.of(kind)) for kind in ConceptKind},
        second={ConceptKind.OBJECT: load_encoder("icons-64-what")},
    )


class Sizes(Value):
    """Pictures per concept, denoising steps of each, and the seed that concepts are drawn by.

    Picture n has the noise of seed n, under the base and under every adapter.
    """

    pictures: int = 32
    sampling_steps: int = 10
    draw_seed: int = 0


class Setting(Value):
    """What scores are comparable within: one base, the same encoders, one size."""

    base: str
    object_encoder: str
    style_encoder: str
    sizes: Sizes
    second_object_encoder: str = ""

    def key(self, *parts: str) -> str:
        """The sha256 (hex) of this setting with what determines a run in it."""
        return hashlib.sha256(" ".join([self.model_dump_json(), *parts]).encode()).hexdigest()


@dataclass(frozen=True)
class Laboratory:
    """A loaded base, frozen, on the CPU, and what judges its pictures."""

    base: StableDiffusionBase
    manifest: BaseModelManifest
    encoders: Encoders
    sizes: Sizes

    @classmethod
    def load(cls, model: Path, sizes: Sizes) -> "Laboratory":
        base = load_base(Family.SD, str(model), torch.device("cpu"), torch.float32)
        assert isinstance(base, StableDiffusionBase)
        return cls(base, read_manifest(model), load_encoders(), sizes)

    @property
    def setting(self) -> Setting:
        second = self.encoders.second.get(ConceptKind.OBJECT)
        return Setting(
            base=self.base.fingerprint,
            object_encoder=self.encoders.first[ConceptKind.OBJECT].fingerprint,
            style_encoder=self.encoders.first[ConceptKind.STYLE].fingerprint,
            sizes=self.sizes,
            second_object_encoder="" if second is None else second.fingerprint,
        )

    def draw(self, update: Update, asked: Sequence[Asked]) -> list[Image.Image]:
        """A picture per prompt by the version that `update` makes of the base, which is untouched afterwards."""
        sampler = Sampler(self.sizes.sampling_steps, self.manifest.default_guidance_scale)
        wanted = [Wanted(one.prompt, seed) for seed, one in enumerate(asked)]
        with applied(self.base.denoiser, update):
            return draw(self.base, wanted, sampler)
