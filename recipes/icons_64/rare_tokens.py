"""The reserve of rare words: no meaning, easy to say, each a single token. A learned concept takes one of them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import CLIPTextModel, CLIPTokenizer

_WORDS = (
    "brosk flaf zwult frulm drasp kemb stev kliz glix besk felp blilm sneb tarv wemb prirv "
    "zolm spilf gelf glak vlag venk blonk zuld blurk nimb pruk vlork jenk klab zilf drex "
    "gusk brimb garv zwig skix truf prarv karsk vurg frerk brez kleb wirv wusk flulm griv "
    "fank plilf fliv kimb troz kelm krod porv krarg flerv bolp zorv zerk nilp sniz grarg"
)
RARE_TOKENS: tuple[str, ...] = tuple(_WORDS.split())

# The two places in which Palimpsest puts a learned concept's token.
PROMPTS = ("a photo of {token} fruit", "{token} style image of a pineapple")


def rare_token_states(
    text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, prompt: str, tokens: Sequence[str]
) -> Tensor:
    """(tokens, width): the encoder's outputs at the token's place in `prompt`, each of length 1."""
    prompts = [prompt.format(token=token) for token in tokens]
    ids = tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids.to(text_encoder.device)
    place = prompt.format(token=tokens[0]).split().index(tokens[0]) + 1
    states: Tensor = normalize(text_encoder(ids).last_hidden_state[:, place].float(), dim=-1)
    return states


@torch.no_grad()
def rare_token_cosines(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, prompt: str) -> Tensor:
    """(64, 64) cosines between the encoder's outputs at the token's place, one prompt per rare token; diagonal 0."""
    states = rare_token_states(text_encoder, tokenizer, prompt, RARE_TOKENS)
    return (states @ states.T).fill_diagonal_(0.0)
