"""Prompts of any length for CLIP's text encoders, which read a fixed number of tokens at once (77).

A longer prompt is read in chunks, each with a start and an end of its own, whose states are laid one behind another:
cross-attention sees them all. So do the usual interfaces, and so is nothing cut off. A prompt that fits is read as it
always was, to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_START_AND_END = 2


@dataclass(frozen=True)
class Chunks:
    """Prompts in chunks: tokens and words are N x K x L, K the chunks of the longest; `words` tells from padding."""

    tokens: Tensor
    words: Tensor

    def read_by(self, text_encoder: Any, **options: Any) -> Any:
        """What the encoder says of them, chunk by chunk: N K rows."""
        tokens = self.tokens.flatten(0, 1).to(text_encoder.device)
        if getattr(text_encoder.config, "use_attention_mask", False):
            options["attention_mask"] = self.words.flatten(0, 1).to(tokens)
        return text_encoder(tokens, **options)


def length(tokenizer: Any, text_encoder: Any) -> int:
    """How many tokens the encoder reads at once, start and end included."""
    # Tokenizers that were saved without a length say a number that no encoder has.
    return int(min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings))


def is_long(tokenizer: Any, text_encoder: Any, prompts: Sequence[str]) -> bool:
    """Whether one of the prompts is more than one chunk."""
    room = length(tokenizer, text_encoder) - _START_AND_END
    return any(len(ids) > room for ids in _ids(tokenizer, prompts))


def beyond(tokenizer: Any, text_encoder: Any, prompt: str) -> str:
    """The words of a prompt that are behind its first chunk."""
    ids = _ids(tokenizer, [prompt])[0][length(tokenizer, text_encoder) - _START_AND_END :]
    return str(tokenizer.decode(ids)).strip() if ids else ""


def in_chunks(tokenizer: Any, text_encoder: Any, prompts: Sequence[str], least: int = 1) -> Chunks:
    """The prompts in at least so many chunks; what a shorter one lacks is padded, as an empty prompt is."""
    room = length(tokenizer, text_encoder) - _START_AND_END
    ids = _ids(tokenizer, prompts)
    count = max(least, *(-(-len(one) // room) for one in ids), 1)
    rows = [[_chunk(tokenizer, one[n * room : (n + 1) * room], room) for n in range(count)] for one in ids]
    words = [[len(one[n * room : (n + 1) * room]) + _START_AND_END for n in range(count)] for one in ids]
    places = torch.arange(room + _START_AND_END)
    return Chunks(torch.tensor(rows), places < torch.tensor(words).unsqueeze(-1))


def _ids(tokenizer: Any, prompts: Sequence[str]) -> list[list[int]]:
    # `verbose=False`: it would else warn of lengths that are no trouble here.
    found = tokenizer(list(prompts), add_special_tokens=False, truncation=False, verbose=False).input_ids
    return [list(ids) for ids in found]


def _chunk(tokenizer: Any, ids: list[int], room: int) -> list[int]:
    padding = [tokenizer.pad_token_id] * (room - len(ids))
    return [tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *padding]
