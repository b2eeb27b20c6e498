"""A story that nobody played: answers as the API would give them, with pictures of one colour each."""

import io
from datetime import UTC, datetime, timedelta

from PIL import Image

from demo.bodies import Adapter, Generation, Job, Lineage, Progress, Provenance, Strategy, Version
from demo.samples import load_samples
from demo.story import Block, Cell, Plan, Story

BEGAN = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
NAMES = ("my-duck", "my-peach", "ink-drawing")
TAUGHT, UNTAUGHT = (20, 120, 40), (200, 30, 30)


def job(status: str = "succeeded", **changes: object) -> Job:
    """A job that took 12 seconds."""
    fields = {
        "id": "a-job",
        "kind": "train",
        "status": status,
        "phase": None,
        "progress": Progress(step=8, total_steps=8, eta_seconds=None, loss=0.25),
        "queue_position": None,
        "error": None,
        "result": None,
        "started_at": BEGAN,
        "finished_at": BEGAN + timedelta(seconds=12),
    }
    return Job.model_validate(fields | changes)


def story(num_images: int = 2, *, wide: bool = False) -> Story:
    """Three concepts under two strategies; on a wide base, the first two objects in one picture too."""
    plan = Plan(load_samples(NAMES), ("naive", "merge"), "tiny <sd>", {}, num_images, 7)
    return Story(plan, tuple(_block(plan, name, wide=wide) for name in plan.strategies), BEGAN, 90.0)


def _block(plan: Plan, name: str, *, wide: bool) -> Block:
    numbers = range(len(plan.samples) + 1)
    training = {"rank": 2, "steps": 8}
    return Block(
        lineage=Lineage(id=name, name=name, base_model="tiny-sd", strategy=Strategy(name=name), training=training),
        summary=f"What {name} does.",
        jobs=tuple(job() for _ in plan.samples),
        versions=tuple(_version(number) for number in numbers),
        rows=tuple(tuple(_cell(plan, row, number) for number in numbers) for row in range(len(plan.samples))),
        together=tuple(_wide_cell(number) if number >= 2 else None for number in numbers) if wide else (),
    )


def _wide_cell(number: int) -> Cell:
    generation = Generation(
        id="a-generation",
        version=number,
        prompt="<my-duck> next to <my-peach>",
        resolved_prompt="zqa bird next to zqb fruit",
        seed=7,
        steps=4,
        guidance_scale=2.0,
    )
    return Cell(True, generation, job(), (_png(TAUGHT, width=128),))


def _version(number: int) -> Version:
    if number == 0:
        return Version(version=0, parent=None, adapter=None, provenance=None)
    provenance = Provenance(
        base_fingerprint="ba5e" * 16,
        parent_adapter_sha256=None,
        instance_prompt="a photo of zqa <toy>",
        final_loss=0.5,
        training_seconds=10.0,
        machine={"device": "cpu"},
    )
    adapter = Adapter(sha256=f"{number}" * 64, size_bytes=1000)
    return Version(version=number, parent=number - 1, adapter=adapter, provenance=provenance)


def _cell(plan: Plan, row: int, number: int) -> Cell:
    is_taught = number > row
    generation = Generation(
        id="a-generation",
        version=number,
        prompt=plan.samples[row].prompt(is_taught=is_taught),
        resolved_prompt="a photo of zqa toy",
        seed=7,
        steps=4,
        guidance_scale=2.0,
    )
    return Cell(is_taught, generation, job(), (_png(TAUGHT if is_taught else UNTAUGHT),) * plan.num_images)


def _png(colour: tuple[int, int, int], width: int = 64) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, 64), colour).save(stream, "PNG")
    return stream.getvalue()
