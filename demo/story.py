"""What the demo does: teach the same concepts in order under each strategy, then ask every version the same."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from demo.bodies import Concept, Generation, Job, Lineage, Version
from demo.client import Client
from demo.errors import DemoError
from demo.progress import Watcher
from demo.samples import Sample, first_two_objects


@dataclass(frozen=True)
class Plan:
    """What to teach, how, and how many pictures to ask for."""

    samples: tuple[Sample, ...]
    strategies: tuple[str, ...]
    base_model: str
    training: dict[str, int]
    num_images: int
    seed: int


@dataclass(frozen=True)
class Cell:
    """What one version draws of one concept, which it may not have learned yet."""

    is_taught: bool
    generation: Generation
    job: Job
    pictures: tuple[bytes, ...]


@dataclass(frozen=True)
class Block:
    """One lineage: its train jobs, its versions from the base on, and for each concept a row with a cell a version."""

    lineage: Lineage
    summary: str
    jobs: tuple[Job, ...]
    versions: tuple[Version, ...]
    rows: tuple[tuple[Cell, ...], ...]
    together: tuple[Cell | None, ...] = ()
    """The first two objects in one picture, by each version that has learned both; empty where the base cannot."""


@dataclass(frozen=True)
class Story:
    """Everything that the sheet and the report show."""

    plan: Plan
    blocks: tuple[Block, ...]
    began_at: datetime
    seconds: float


@dataclass(frozen=True)
class _Question:
    """A cell that is being drawn."""

    is_taught: bool
    job: Job


def play(client: Client, plan: Plan, watcher: Watcher) -> Story:
    """Run the whole demo.

    Raises:
        DemoError: something did not go as it should.
    """
    began_at, clock = datetime.now(UTC), time.monotonic()
    concepts = [client.create_concept(s.name, s.kind, s.class_noun, s.images) for s in plan.samples]
    lineages = [client.create_lineage(name, plan.base_model, name, plan.training) for name in plan.strategies]
    trained = _train(client, lineages, concepts, watcher)
    blocks = [_ask(client, plan, lineage, jobs, watcher) for lineage, jobs in zip(lineages, trained, strict=True)]
    return Story(plan, tuple(blocks), began_at, time.monotonic() - clock)


def _train(
    client: Client, lineages: Sequence[Lineage], concepts: Sequence[Concept], watcher: Watcher
) -> list[tuple[Job, ...]]:
    """Each lineage's train jobs, ended. Those of a lineage run one at a time, in the order of their submission."""
    pairs = [(lineage, concept) for lineage in lineages for concept in concepts]
    submitted = {f"{lineage.name} · {concept.name}": client.train(lineage.id, concept.id) for lineage, concept in pairs}
    ended = watcher.trainings(submitted)
    return [tuple(ended[start : start + len(concepts)]) for start in range(0, len(ended), len(concepts))]


def _ask(client: Client, plan: Plan, lineage: Lineage, jobs: tuple[Job, ...], watcher: Watcher) -> Block:
    numbers = [0, *(_version_number(job) for job in jobs)]
    rows = [
        [_question(client, plan, lineage, sample, number, is_taught=number > place) for number in numbers]
        for place, sample in enumerate(plan.samples)
    ]
    watcher.drawings(f"{lineage.name} · pictures", [question.job for row in rows for question in row])
    together = _together(client, plan, lineage, numbers)
    if together:
        watcher.drawings(f"{lineage.name} · two in one", [each.job for each in together if each is not None])
    return Block(
        lineage=lineage,
        summary=client.strategy_summary(lineage.strategy.name),
        jobs=jobs,
        versions=tuple(client.version(lineage.id, number) for number in numbers),
        rows=tuple(tuple(_cell(client, question) for question in row) for row in rows),
        together=tuple(None if question is None else _cell(client, question) for question in together),
    )


def _together(client: Client, plan: Plan, lineage: Lineage, numbers: Sequence[int]) -> list[_Question | None]:
    """A question for each version that has learned both objects, where the base draws pictures for two."""
    pair, width = first_two_objects(plan.samples), client.manifest(lineage.base_model).wide
    if pair is None or width is None:
        return []
    prompt = " next to ".join(f"<{sample.name}>" for sample in pair)
    since = plan.samples.index(pair[1]) + 1
    return [
        _Question(True, client.generate(lineage.id, number, prompt, plan.num_images, plan.seed, width))
        if place >= since
        else None
        for place, number in enumerate(numbers)
    ]


def _version_number(job: Job) -> int:
    if job.result is None or job.result.version is None:
        raise DemoError(f"job {job.id} has succeeded without a version")
    return job.result.version


def _question(
    client: Client, plan: Plan, lineage: Lineage, sample: Sample, version: int, *, is_taught: bool
) -> _Question:
    prompt = sample.prompt(is_taught=is_taught)
    return _Question(is_taught, client.generate(lineage.id, version, prompt, plan.num_images, plan.seed))


def _cell(client: Client, question: _Question) -> Cell:
    job = client.job(question.job.id)
    if job.result is None or job.result.generation_id is None:
        raise DemoError(f"job {job.id} has succeeded without a generation")
    generation = client.generation(job.result.generation_id)
    return Cell(question.is_taught, generation, job, tuple(client.picture(image) for image in generation.images))
