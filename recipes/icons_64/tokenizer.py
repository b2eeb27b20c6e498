"""Stage `tokenizer`: a CLIP byte-pair encoding in which each word of the captions is one token."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from recipes.icons_64.captions import every_word
from recipes.icons_64.data import Pictures
from recipes.icons_64.split import class_nouns

# Two things, a style and a background take 20 with the longest common names.
MAX_LENGTH = 24
_VOCABULARY_LIMIT = 4096
_END_OF_WORD = "</w>"
_START, _END = "<|startoftext|>", "<|endoftext|>"


def build(captions: Iterable[str]) -> CLIPTokenizer:
    """Learn the merges of the words that occur; every byte stays encodable, inside a word and at its end."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=_END_OF_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY_LIMIT,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix=_END_OF_WORD,
        show_progress=False,
    )
    tokenizer.train_from_iterator((caption.lower() for caption in captions), trainer)
    merges = _merges(tokenizer)
    tokens = [*alphabet, *(byte + _END_OF_WORD for byte in alphabet), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def prepare(work_dir: Path) -> None:
    """Train on the names that pretraining may see and save; does nothing when that was done before."""
    folder = work_dir / "tokenizer"
    if not folder.exists():
        names = sorted({picture.name for picture in Pictures.load(work_dir).for_pretraining})
        build(every_word(names, sorted(set(class_nouns().values())))).save_pretrained(folder)


def load(work_dir: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(work_dir / "tokenizer")
