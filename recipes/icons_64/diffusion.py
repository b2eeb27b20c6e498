"""Stage `unet`: the text encoder and the UNet, trained together on the cached latents."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recipes.icons_64 import tokenizer as tokenizer_stage
from recipes.icons_64.captions import caption
from recipes.icons_64.latents import Latents
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.rare_tokens import PROMPTS, RARE_TOKENS, rare_token_states
from recipes.icons_64.training import Run, Schedule
from recipes.icons_64.vae import LATENT_CHANNELS

# Where the weights of an exported model lie that a new run begins from (stage `adopt`).
START = "start"
_BATCH = 128
_WIDTH = 192
_SNR_CAP = 5.0
# The density of timesteps grows as t^(1 / 0.7 - 1).
_TILT = 0.7
_MUON_LEARNING_RATE = 0.02
_ADAM_LEARNING_RATE = 1e-3
# Of these rates, for a run that goes on from a finished model: at the whole one such a run diverged.
_SHARE_FOR_ADOPTED = 0.5
_EMA_DECAY = 0.998
_TOKENS_TOLD_APART = 16
_COSINE_ALLOWED = 0.3


class Painter(nn.Module):
    """The two models as one module, so that they share optimizers, averaging and checkpoints."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()

    @property
    def learns_words(self) -> bool:
        """Whether the text encoder is trained too."""
        return any(parameter.requires_grad for parameter in self.text_encoder.parameters())

    def forward(self, noisy: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """(n, 16, 8, 8), (n,), (n, 32) -> the predicted velocity, (n, 16, 8, 8)."""
        states = self.text_encoder(input_ids).last_hidden_state
        prediction: Tensor = self.unet(noisy, timesteps, states).sample
        return prediction


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=4 * _WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=6,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    text_encoder = CLIPTextModel(config)
    # CLIP starts words at 0.02, where the layers drown them: after 700 steps every word's output had a cosine of 0.99
    # to every other's. At 1 a word's own embedding is most of its output from the start.
    nn.init.normal_(text_encoder.get_input_embeddings().weight, std=1.0)
    return text_encoder


def build_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(96, 192),
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        # In this class the argument is the number of heads.
        attention_head_dim=(3, 6),
        norm_num_groups=16,
    )


def noise_scheduler() -> DDIMScheduler:
    """Rescaled to zero terminal SNR (Lin et al. 2023, arXiv 2305.08891), so that sampling may start from pure noise.

    Without it the last timestep still shows the picture's mean, and backgrounds come out half-way to grey.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )


def loss_weights(alphas_cumprod: Tensor) -> Tensor:
    """(1000,) weights of the velocity's squared error: 1 up to an SNR of 5, falling beyond.

    Min-SNR (Hang et al. 2023, arXiv 2303.09556) weights it by min(SNR, 5) / (SNR + 1), which is zero in pure noise. Yet
    there the caption decides what the picture will be, so only its cap is kept: min(SNR + 1, 6) / (SNR + 1).
    """
    snr_plus_one = 1 / (1 - alphas_cumprod)
    return snr_plus_one.clamp(max=_SNR_CAP + 1) / snr_plus_one


def draw_timesteps(count: int, generator: torch.Generator) -> Tensor:
    """(count,) timesteps, one from each of `count` equally likely strata: independent draws make the loss vary more.

    The noisier, the likelier, up to 1.4 times the mean: there the caption alone decides what the picture shows.
    """
    strata = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (1000 * (strata / count) ** _TILT).long().clamp(max=999)


@dataclass(frozen=True)
class Objective:
    """The loss of one step, with all that it draws from."""

    painter: Painter
    tokenizer: CLIPTokenizer
    latents: Latents
    device: torch.device
    seed: int

    def __call__(self, step: int) -> Tensor:
        seed = hash((self.seed, step))
        generator = torch.Generator().manual_seed(seed)
        latents, shown = self.latents.draw(_BATCH, generator)
        words = random.Random(seed)
        input_ids = self.tokenizer(
            [caption(each, words) for each in shown], padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        timesteps = draw_timesteps(_BATCH, generator)
        noise = torch.randn(latents.shape, generator=generator)
        scheduler = noise_scheduler()
        noisy = scheduler.add_noise(latents, noise, timesteps).to(self.device)
        velocity = scheduler.get_velocity(latents, noise, timesteps).to(self.device)
        weights = loss_weights(scheduler.alphas_cumprod)[timesteps].to(self.device)
        with mixed_precision(self.device):
            predicted = self.painter(noisy, timesteps.to(self.device), input_ids.to(self.device))
            confusion = self._confusion_of_rare_tokens(words) if self.painter.learns_words else 0.0
        errors: Tensor = weights * (predicted.float() - velocity).square().mean((1, 2, 3))
        return errors.mean() + confusion

    def _confusion_of_rare_tokens(self, words: random.Random) -> Tensor:
        """How alike the encoder makes some rare tokens in one prompt, beyond what is allowed.

        They have no meaning, so the pictures alone would teach the encoder to make them all one.
        """
        tokens = words.sample(RARE_TOKENS, _TOKENS_TOLD_APART)
        prompt = words.choice(PROMPTS)
        states = rare_token_states(self.painter.text_encoder, self.tokenizer, prompt, tokens)
        cosines = states @ states.T
        pairs = cosines.triu(diagonal=1)
        return (pairs - _COSINE_ALLOWED).clamp(min=0).square().sum() / (len(tokens) * (len(tokens) - 1) / 2)


def train(work_dir: Path, schedule: Schedule, device: torch.device, seed: int = 0) -> None:
    """Train, or go on training, to the schedule's end. A new run begins from adopted weights where there are any."""
    torch.manual_seed(seed)
    tokenizer = tokenizer_stage.load(work_dir)
    painter, share = Painter(tokenizer), 1.0
    if (work_dir / START).exists():
        _adopt(painter, work_dir / START)
        share = _SHARE_FOR_ADOPTED
    painter.to(device)
    if device.type == "cpu":
        _attend_by_products(painter)
    # Under Muon the text encoder's layers outgrow its embeddings: no norm follows its last sums but the final one.
    edges = (painter.unet.conv_in.weight, painter.unet.conv_out.weight)
    adam_only = (*painter.text_encoder.parameters(), *edges)
    optimizers = split_optimizers(painter, share * _MUON_LEARNING_RATE, share * _ADAM_LEARNING_RATE, adam_only)
    run = Run(painter, optimizers, schedule, work_dir, "unet", _BATCH, ema_decay=_EMA_DECAY)
    run.train(Objective(painter, tokenizer, Latents.load(work_dir), device, seed))


def _adopt(painter: Painter, start: Path) -> None:
    """Give it the finished model that a new run goes on from: the denoiser to be trained, the text encoder as it is.

    The text encoder tells the words apart by then, and leaving it saves a third of each step.
    """
    painter.text_encoder = CLIPTextModel.from_pretrained(start / "text_encoder", dtype=torch.float32)
    painter.text_encoder.requires_grad_(False)
    painter.unet = UNet2DConditionModel.from_pretrained(start / "unet", dtype=torch.float32)


def _attend_by_products(painter: Painter) -> None:
    """PyTorch's fused attention takes a third of a step on a CPU, nearly all of it in its backward pass."""
    painter.unet.set_attn_processor(AttnProcessor())
    painter.text_encoder.set_attn_implementation("eager")


def load(work_dir: Path) -> Painter:
    """The averaged weights of the last checkpoint."""
    painter = Painter(tokenizer_stage.load(work_dir))
    painter.load_state_dict(torch.load(work_dir / "unet.pt", weights_only=True)["average"])
    return painter.eval()
