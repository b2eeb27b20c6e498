"""Adapter files in words that every part shares."""

from enum import StrEnum


class AdapterFormat(StrEnum):
    """`diffusers`: peft's names, for `pipe.load_lora_weights`. `kohya`: the names of kohya's scripts and of UIs."""

    DIFFUSERS = "diffusers"
    KOHYA = "kohya"
