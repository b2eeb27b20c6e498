"""The report: one HTML file that needs nothing beside it."""

import base64
import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

from demo.bodies import Version
from demo.samples import Sample
from demo.story import Block, Cell, Story

_TEMPLATE = Path(__file__).with_name("report.html")
_JOBS = ("lineage", "job", "training seconds", "last loss", "drawing seconds")
_PROVENANCE = ("lineage", "version", "parent", "instance prompt", "adapter", "bytes", "parent's adapter", "base model")
_SHORT = 12


def write_report(story: Story, path: Path) -> None:
    """Write the page."""
    path.write_text(render(story), encoding="utf-8")


def render(story: Story) -> str:
    """The page as text."""
    plan, generation = story.plan, story.blocks[0].rows[0][0].generation
    provenance = story.blocks[0].versions[-1].provenance
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        began_at=f"{story.began_at:%Y-%m-%d %H:%M} UTC",
        minutes=f"{story.seconds / 60:.1f}",
        base_model=escape(plan.base_model),
        sampling=f"{generation.steps} steps, guidance scale {generation.guidance_scale:g}, seeds from {plan.seed}",
        blocks="\n".join(_block(story, block) for block in story.blocks),
        jobs=_table(_JOBS, (row for block in story.blocks for row in _job_rows(story, block))),
        provenance=_table(_PROVENANCE, (_provenance_row(b, v) for b in story.blocks for v in b.versions)),
        training=escape(json.dumps(story.blocks[0].lineage.training, indent=2)),
        machine=escape(json.dumps({} if provenance is None else provenance.machine, indent=2)),
    )


def _block(story: Story, block: Block) -> str:
    heads = ["", "reference", "version 0", *(f"version {n}: + {s.name}" for n, s in enumerate(story.plan.samples, 1))]
    rows = (
        [escape(sample.name), _reference(sample, story.plan.num_images), *(_figure(row, cell) for cell in cells)]
        for row, (sample, cells) in enumerate(zip(story.plan.samples, block.rows, strict=True))
    )
    together = [["both together", "", *map(_together, block.together)]] if block.together else []
    title = f"<h2><b>{escape(block.lineage.name)}</b></h2><p>{escape(block.summary)}</p>"
    return f'{title}<div class="scroll">{_table(heads, [*rows, *together])}</div>'


def _reference(sample: Sample, count: int) -> str:
    return f"<figure>{''.join(_image(path.read_bytes()) for path in sample.images[:count])}</figure>"


def _figure(row: int, cell: Cell) -> str:
    """Version n + 1 is the one that has just learned the concept of row n."""
    state = "not-taught" if not cell.is_taught else "just-taught" if cell.generation.version == row + 1 else "taught"
    caption = f'<figcaption title="{escape(cell.generation.resolved_prompt)}">{escape(cell.generation.prompt)}'
    return f'<figure class="{state}">{"".join(map(_image, cell.pictures))}{caption}</figcaption></figure>'


def _together(cell: Cell | None) -> str:
    """Two concepts in one picture; empty before both are taught."""
    if cell is None:
        return ""
    caption = escape(cell.generation.prompt)
    return f'<figure class="together">{"".join(map(_image, cell.pictures))}<figcaption>{caption}</figcaption></figure>'


def _image(png: bytes) -> str:
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def _job_rows(story: Story, block: Block) -> Iterable[Sequence[str]]:
    """One row for each version: its training, and the drawing of its pictures."""
    for column, version in enumerate(block.versions):
        drawing = sum(row[column].job.seconds for row in block.rows)
        name = escape(block.lineage.name)
        if version.provenance is None:
            yield name, "version 0, the base", "", "", f"{drawing:.1f}"
        else:
            training, loss = block.jobs[column - 1].seconds, version.provenance.final_loss
            taught = escape(story.plan.samples[column - 1].name)
            yield name, f"version {version.version}, {taught}", f"{training:.1f}", f"{loss:.4f}", f"{drawing:.1f}"


def _provenance_row(block: Block, version: Version) -> Sequence[str]:
    name, number = escape(block.lineage.name), str(version.version)
    if version.provenance is None or version.adapter is None:
        return name, number, "", "", "", "", "", ""
    about, adapter = version.provenance, version.adapter
    return (
        name,
        number,
        str(version.parent),
        f"<code>{escape(about.instance_prompt)}</code>",
        _hash(adapter.sha256),
        str(adapter.size_bytes),
        _hash(about.parent_adapter_sha256),
        _hash(about.base_fingerprint),
    )


def _hash(digest: str | None) -> str:
    return "" if digest is None else f'<code title="{escape(digest)}">{escape(digest[:_SHORT])}</code>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
