"""The names that a UNet's layers have in Stability's own code, by which kohya's scripts name those of SDXL.

There a UNet is one row of `input_blocks`, a `middle_block` and one row of `output_blocks`; in each block sub-block 0 is
the residual one, then come the attentions, then what changes the size.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """What of a UNet's shape its layers' names depend on; `attending` numbers the up blocks that have attentions."""

    layers_per_block: int
    attending: frozenset[int]


SDXL = Layout(layers_per_block=2, attending=frozenset({0, 1}))

_PLAIN = {
    "conv_in": "input_blocks.0.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_MIDDLE = {"resnets.0": "middle_block.0", "attentions.0": "middle_block.1", "resnets.1": "middle_block.2"}
_IN_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(?P<side>down|up)_blocks\.(?P<block>\d+)\.(?P<kind>\w+)\.(?P<layer>\d+)\.(?P<rest>.+)")
_MIDDLE_BLOCK = re.compile(r"mid_block\.(?P<part>(resnets|attentions)\.\d+)\.(?P<rest>.+)")


def stability_name(layout: Layout, path: str) -> str | None:
    """The other name of the layer at `path`, with dots; None for what Stability's UNets do not have."""
    if path in _PLAIN:
        return _PLAIN[path]
    if middle := _MIDDLE_BLOCK.fullmatch(path):
        block = _MIDDLE.get(middle["part"])
        return None if block is None else f"{block}.{_IN_RESNET.get(middle['rest'], middle['rest'])}"
    found = _BLOCK.fullmatch(path)
    if found is None:
        return None
    if found["side"] == "down":
        return _in_input_block(found, layout.layers_per_block)
    return _in_output_block(layout, found)


def _in_input_block(found: re.Match[str], layers: int) -> str:
    """A block of n layers is n input blocks, and one more that halves the size; the first of all is `conv_in`."""
    number = 1 + int(found["block"]) * (layers + 1)
    if found["kind"] == "downsamplers":
        return f"input_blocks.{number + layers}.0.op"
    return f"input_blocks.{number + int(found['layer'])}.{_inner(found)}"


def _in_output_block(layout: Layout, found: re.Match[str]) -> str:
    """A block of n + 1 layers is as many output blocks, the last of which also doubles the size."""
    layers = layout.layers_per_block
    number = int(found["block"]) * (layers + 1)
    if found["kind"] == "upsamplers":
        place = 2 if int(found["block"]) in layout.attending else 1
        return f"output_blocks.{number + layers}.{place}.{found['rest']}"
    return f"output_blocks.{number + int(found['layer'])}.{_inner(found)}"


def _inner(found: re.Match[str]) -> str:
    if found["kind"] == "attentions":
        return f"1.{found['rest']}"
    return f"0.{_IN_RESNET.get(found['rest'], found['rest'])}"
