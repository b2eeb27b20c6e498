"""The contact sheet: a block for each strategy, a row for each concept, a column for each version.

Read along a row: how well the concept is drawn when it has just been taught, and what is left of it afterwards.
"""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from demo.layout import HEADING_HEIGHT, MARGIN, TILE, TILE_GAP, Box, Layout
from demo.story import Block, Cell, Story

PAPER, INK, FAINT, LINE, ACCENT = "#fdfbf7", "#1c1917", "#78716c", "#d6d3d1", "#c2410c"
TITLE, HEADING, LABEL, CAPTION = 34, 26, 19, 16
FRAME = 3
FADING = 0.6
LEGEND = (
    "Framed: the version that has just learned the concept. Faded: not taught yet, so the prompt names its class alone."
)


def write_sheet(story: Story, path: Path) -> None:
    """Draw the sheet, and save it as a PNG."""
    image = draw_sheet(story)
    # Flat pictures of few colours: a palette halves the file, and nobody sees the difference.
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def layout_of(story: Story) -> Layout:
    """Where everything is on this story's sheet."""
    plan = story.plan
    rows = len(plan.samples) + any(block.together for block in story.blocks)
    return Layout(len(story.blocks), rows, 2 + len(plan.samples), plan.num_images)


def draw_sheet(story: Story) -> Image.Image:
    """The sheet as a picture."""
    layout = layout_of(story)
    sheet = Image.new("RGB", layout.size, PAPER)
    pen = ImageDraw.Draw(sheet)
    _text(pen, (MARGIN, MARGIN), "What each new concept costs the old ones", TITLE)
    _text(pen, (MARGIN, MARGIN + 48), _subtitle(story), LABEL, FAINT)
    for number in range(layout.blocks):
        _draw_headings(pen, layout, number, story)
        for row in range(len(story.plan.samples)):
            _draw_row(sheet, layout, number, row, story)
        _draw_together(sheet, layout, number, story.blocks[number])
    _text(pen, (MARGIN, layout.size[1] - MARGIN - CAPTION), LEGEND, CAPTION, FAINT)
    return sheet


def _subtitle(story: Story) -> str:
    plan, training = story.plan, story.blocks[0].lineage.training
    seeds = ", ".join(str(plan.seed + n) for n in range(plan.num_images))
    options = f"rank {training['rank']}, {training['steps']} steps per concept"
    return f"{plan.base_model}, {options}. Every version gets the same prompts and the same seeds ({seeds})."


def _draw_headings(pen: ImageDraw.ImageDraw, layout: Layout, number: int, story: Story) -> None:
    top, block = layout.block_top(number), story.blocks[number]
    _text(pen, (MARGIN, top), block.lineage.name, HEADING, ACCENT)
    _text(pen, (layout.column_left(0), top + 6), block.summary, LABEL, FAINT)
    line = top + HEADING_HEIGHT - 44
    pen.line((MARGIN, line, layout.size[0] - MARGIN, line), LINE)
    taught = [f"version {n}: + {sample.name}" for n, sample in enumerate(story.plan.samples, start=1)]
    for column, heading in enumerate(["reference", "version 0: the base", *taught]):
        _text(pen, (layout.column_left(column), line + 12), heading, CAPTION)


def _draw_row(sheet: Image.Image, layout: Layout, number: int, row: int, story: Story) -> None:
    pen, sample = ImageDraw.Draw(sheet), story.plan.samples[row]
    box = layout.cell(number, row, 0)
    _text(pen, (MARGIN, box[1] + 22), sample.name, LABEL)
    _text(pen, (MARGIN, box[1] + 50), sample.class_noun or sample.kind, CAPTION, FAINT)
    _draw_tiles(sheet, box, [Image.open(path) for path in sample.images[: layout.tiles]])
    for version, cell in enumerate(story.blocks[number].rows[row]):
        _draw_cell(sheet, layout.cell(number, row, version + 1), cell, version - row - 1)


def _draw_together(sheet: Image.Image, layout: Layout, number: int, block: Block) -> None:
    """The last row: two concepts in one picture, the first of those that were drawn."""
    pen, row = ImageDraw.Draw(sheet), layout.rows - 1
    for version, cell in enumerate(block.together):
        if cell is None:
            continue
        box = layout.cell(number, row, version + 1)
        left, top, right, bottom = layout.wide_tile(box)
        picture = Image.open(io.BytesIO(cell.pictures[0])).convert("RGB")
        sheet.paste(picture.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
        _text(pen, (left, box[3] + 7), "two in one picture", CAPTION, FAINT)
    if block.together:
        _text(pen, (MARGIN, layout.cell(number, row, 0)[1] + 22), "both together", LABEL)


def _draw_cell(sheet: Image.Image, box: Box, cell: Cell, later: int) -> None:
    """`later`: how many concepts the version has learned after this one; negative before it is taught."""
    pen = ImageDraw.Draw(sheet)
    pictures = [Image.open(io.BytesIO(data)) for data in cell.pictures]
    _draw_tiles(sheet, box, pictures, faded=not cell.is_taught)
    if later == 0:
        left, top, right, bottom = box
        pen.rectangle((left - FRAME - 1, top - FRAME - 1, right + FRAME, bottom + FRAME), outline=ACCENT, width=FRAME)
    captions = {0: "just taught", 1: "1 concept later"}
    caption = (
        captions.get(later, f"{later} concepts later") if cell.is_taught else f"\u201c{cell.generation.prompt}\u201d"
    )
    _text(pen, (box[0], box[3] + 7), caption, CAPTION, FAINT)


def _draw_tiles(sheet: Image.Image, box: Box, pictures: Sequence[Image.Image], *, faded: bool = False) -> None:
    for place, picture in enumerate(pictures):
        tile = picture.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
        if faded:
            tile = Image.blend(tile, Image.new("RGB", tile.size, PAPER), FADING)
        sheet.paste(tile, (box[0] + place * (TILE + TILE_GAP), box[1]))


def _text(pen: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, colour: str = INK) -> None:
    pen.text(at, text, fill=colour, font=ImageFont.load_default(size))
