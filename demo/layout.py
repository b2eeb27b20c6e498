"""Where everything on the contact sheet is, in pixels."""

from dataclasses import dataclass

Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""

MARGIN = 36
TILE = 96
TILE_GAP = 4
CELL_GAP = 18
LABEL_WIDTH = 176
CAPTION_HEIGHT = 26
TITLE_HEIGHT = 100
HEADING_HEIGHT = 92
BLOCK_GAP = 26
LEGEND_HEIGHT = 40


@dataclass(frozen=True)
class Layout:
    """A sheet of `blocks` blocks, each of `rows` rows (concepts) and `columns` columns: the reference, the versions."""

    blocks: int
    rows: int
    columns: int
    tiles: int
    """Pictures side by side in each cell."""

    @property
    def cell_width(self) -> int:
        """Without the gap to the next."""
        return self.tiles * TILE + (self.tiles - 1) * TILE_GAP

    @property
    def row_height(self) -> int:
        """Of the pictures, their caption and the gap to the next."""
        return TILE + CAPTION_HEIGHT + CELL_GAP

    @property
    def block_height(self) -> int:
        """Of the heading, the rows and the gap to the next block."""
        return HEADING_HEIGHT + self.rows * self.row_height + BLOCK_GAP

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole sheet."""
        width = 2 * MARGIN + LABEL_WIDTH + self.columns * (self.cell_width + CELL_GAP) - CELL_GAP
        return width, 2 * MARGIN + TITLE_HEIGHT + self.blocks * self.block_height - BLOCK_GAP + LEGEND_HEIGHT

    def block_top(self, block: int) -> int:
        """Where the block's heading begins."""
        return MARGIN + TITLE_HEIGHT + block * self.block_height

    def column_left(self, column: int) -> int:
        """Where the column's cells begin."""
        return MARGIN + LABEL_WIDTH + column * (self.cell_width + CELL_GAP)

    def wide_tile(self, box: Box) -> Box:
        """Where in a cell a picture goes that is twice as wide as it is high: as high as others, if there is room."""
        left, top, right, _ = box
        width = min(right - left, 2 * TILE)
        return left, top, left + width, top + width // 2

    def cell(self, block: int, row: int, column: int) -> Box:
        """The pictures of one cell, without the caption below them."""
        left, top = self.column_left(column), self.block_top(block) + HEADING_HEIGHT + row * self.row_height
        return left, top, left + self.cell_width, top + TILE
