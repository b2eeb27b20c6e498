"""Stage `unet`: the text encoder and the UNet, trained together on the cached latents; later the UNet alone."""

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
from recipes.icons_64.gates import Gates, best_average
from recipes.icons_64.latents import Latents
from recipes.icons_64.optimizers import split_optimizers
from recipes.icons_64.precision import mixed_precision
from recipes.icons_64.rare_tokens import PROMPTS, RARE_TOKENS, rare_token_states
from recipes.icons_64.training import Run, Schedule
from recipes.icons_64.vae import LATENT_CHANNELS

# Where the weights of an exported model lie that a new run begins from (stage `adopt`).
START = "start"
# The curve of the run, beside its checkpoint.
GATES = "unet-gates.csv"
_BATCH = 256
_WIDTH = 192
_SNR_CAP = 5.0
_MUON_LEARNING_RATE = 0.02
_MUON_DECAY = 0.05
_ADAM_LEARNING_RATE = 1e-3
# Of these rates, for a run that goes on from a finished model: at the whole one such a run diverged.
_SHARE_FOR_ADOPTED = 0.5
_EMA_DECAYS = (0.999, 0.9997)
_TOKENS_TOLD_APART = 16
_COSINE_ALLOWED = 0.3
# Then the words are told apart, and leaving the text encoder as it is saves a third of each step.
_TEXT_STEPS = 5_000
_STEPS_BETWEEN_GATES = 100


@dataclass(frozen=True)
class Recipe:
    """What trials compare. `pooled`: the text as a whole scales and shifts the norms, beside the cross-attention.

    `contrast`: the weight of pushing predictions away from the same thing in another style (contrastive flow matching,
    arXiv 2506.05350). `tilt`: the density of timesteps grows as t^(1 / tilt - 1); less is noisier.
    """

    pooled: bool = True
    contrast: float = 0.05
    tilt: float = 0.7


class Painter(nn.Module):
    """The two models as one module, so that they share optimizers, averaging and checkpoints."""

    def __init__(self, tokenizer: CLIPTokenizer, pooled: bool = True) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet(pooled)

    @property
    def learns_words(self) -> bool:
        """Whether the text encoder is trained too."""
        return any(parameter.requires_grad for parameter in self.text_encoder.parameters())

    def forward(self, noisy: Tensor, timesteps: Tensor, input_ids: Tensor) -> Tensor:
        """(n, 16, 8, 8), (n,), (n, tokens) -> the predicted velocity, (n, 16, 8, 8)."""
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


def build_unet(pooled: bool = True) -> UNet2DConditionModel:
    """`pooled`: the text, pooled, joins the timestep's embedding, which scales and shifts every norm."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(96, 192, 192),
        down_block_types=("CrossAttnDownBlock2D",) * 3,
        up_block_types=("CrossAttnUpBlock2D",) * 3,
        layers_per_block=1,
        cross_attention_dim=_WIDTH,
        # In this class the argument is the number of heads.
        attention_head_dim=(3, 6, 6),
        norm_num_groups=16,
        addition_embed_type="text" if pooled else None,
        addition_embed_type_num_heads=6,
        resnet_time_scale_shift="scale_shift" if pooled else "default",
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


def draw_timesteps(count: int, generator: torch.Generator, tilt: float = Recipe.tilt) -> Tensor:
    """(count,) timesteps, one from each of `count` equally likely strata: independent draws make the loss vary more.

    The noisier, the likelier, up to 1 / tilt times the mean: there the caption alone decides what the picture shows.
    """
    strata = torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)
    return (1000 * (strata / count) ** tilt).long().clamp(max=999)


@dataclass(frozen=True)
class Objective:
    """The loss of one step, with all that it draws from."""

    painter: Painter
    tokenizer: CLIPTokenizer
    latents: Latents
    device: torch.device
    seed: int
    recipe: Recipe

    def __call__(self, step: int, plateau: bool) -> Tensor:
        """`plateau`: the rate does not fall yet. The contrast is off in the decay, since it shifts the optimum."""
        seed = hash((self.seed, step))
        generator = torch.Generator().manual_seed(seed)
        batch = self.latents.draw(_BATCH, generator)
        words = random.Random(seed)
        captions = [caption(shown, words) for shown in batch.shown]
        timesteps = draw_timesteps(_BATCH, generator, self.recipe.tilt)
        noise = torch.randn(batch.latents.shape, generator=generator)
        scheduler = noise_scheduler()
        noisy = scheduler.add_noise(batch.latents, noise, timesteps).to(self.device)
        velocity = scheduler.get_velocity(batch.latents, noise, timesteps).to(self.device)
        with mixed_precision(self.device):
            predicted = self.painter(noisy, timesteps.to(self.device), self._tokens(captions)).float()
            confusion = self._confusion_of_rare_tokens(words) if self.painter.learns_words else 0.0
        errors = (predicted - velocity).square().mean((1, 2, 3))
        if plateau and self.recipe.contrast:
            other = scheduler.get_velocity(batch.negatives, noise, timesteps).to(self.device)
            named = [shown.style_noun in text for shown, text in zip(batch.shown, captions, strict=True)]
            # Where the caption leaves the style open, the other style is no error.
            share = self.recipe.contrast * torch.tensor(named, device=self.device).float()
            errors = errors - share * (predicted - other).square().mean((1, 2, 3))
        weights = loss_weights(scheduler.alphas_cumprod)[timesteps].to(self.device)
        loss: Tensor = (weights * errors).mean() + confusion
        return loss

    def _tokens(self, captions: list[str]) -> Tensor:
        ids = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        on_device: Tensor = ids.to(self.device)
        return on_device

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


def train(
    work_dir: Path, schedule: Schedule, device: torch.device, recipe: Recipe | None = None, names: int | None = None
) -> None:
    """Train, or go on training, to the schedule's end. A new run begins from adopted weights where there are any.

    `names`: only the first so many, for a trial.
    """
    seed, recipe = 0, recipe or Recipe()
    torch.manual_seed(seed)
    tokenizer = tokenizer_stage.load(work_dir)
    painter, share = Painter(tokenizer, recipe.pooled), 1.0
    if (work_dir / START).exists():
        _adopt(painter, work_dir / START)
        share = _SHARE_FOR_ADOPTED
    painter.to(device)
    if device.type == "cpu":
        _attend_by_products(painter)
    # Under Muon the text encoder's layers outgrow its embeddings: no norm follows its last sums but the final one.
    edges = (painter.unet.conv_in.weight, painter.unet.conv_out.weight)
    adam_only = (*painter.text_encoder.parameters(), *edges)
    rates = (share * _MUON_LEARNING_RATE, share * _ADAM_LEARNING_RATE)
    optimizers = split_optimizers(painter, *rates, adam_only, _MUON_DECAY)
    run = Run(painter, optimizers, schedule, work_dir, "unet", _BATCH, ema_decays=_EMA_DECAYS)
    latents = Latents.load(work_dir)
    latents = latents if names is None else latents.of_names(names)
    objective = Objective(painter, tokenizer, latents, device, seed, recipe)
    gates = Gates(work_dir / GATES, tokenizer, latents, device)

    def loss_of_step(step: int) -> Tensor:
        if step == _TEXT_STEPS:
            painter.text_encoder.requires_grad_(False)
        return objective(step, plateau=run.on_plateau)

    def after_step() -> None:
        if run.step % _STEPS_BETWEEN_GATES == 0:
            gates.measure(run, painter)

    if run.step > _TEXT_STEPS:
        painter.text_encoder.requires_grad_(False)
    run.train(loss_of_step, after_step)


def _adopt(painter: Painter, start: Path) -> None:
    """Give it the finished model that a new run goes on from: the denoiser to be trained, the text encoder as it is."""
    painter.text_encoder = CLIPTextModel.from_pretrained(start / "text_encoder", dtype=torch.float32)
    painter.text_encoder.requires_grad_(False)
    painter.unet = UNet2DConditionModel.from_pretrained(start / "unet", dtype=torch.float32)


def _attend_by_products(painter: Painter) -> None:
    """PyTorch's fused attention takes a third of a step on a CPU, nearly all of it in its backward pass."""
    painter.unet.set_attn_processor(AttnProcessor())
    painter.text_encoder.set_attn_implementation("eager")


def load(work_dir: Path) -> Painter:
    """The better of the last checkpoint's averages, by the error that the last gate measured."""
    painter = Painter(tokenizer_stage.load(work_dir))
    if (work_dir / START).exists():
        _adopt(painter, work_dir / START)
    averages = torch.load(work_dir / "unet.pt", weights_only=True)["averages"]
    painter.load_state_dict(averages[best_average(work_dir / GATES, len(averages))])
    return painter.eval()
