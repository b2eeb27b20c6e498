"""Adapters of other tools on the job path: exported here and imported again, or refused with all that does not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load
from safetensors.numpy import save as save_numpy

from app.adapter_files.export import Export, export_adapter
from app.adapter_files.folding import Link
from app.db.session import transaction
from app.db.tables import Lineage, ObjectStatus
from app.domain.adapters import AdapterFormat
from app.domain.base_models import BaseModelManifest, Family
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.jobs import JobStatus, TrainResult
from app.domain.lineages import ImportProvenance, Provenance
from app.domain.strategies import MergeOptions, NaiveOptions, NullSpaceOptions, SelfReplayOptions, StrategyOptions
from app.settings import Settings
from tests.integration.sweeper.test_collection import sweep
from tests.integration.worker.world import KINDS, World
from tests.tiny_pipelines import write_tiny_sd
from tests.tiny_sdxl import write_tiny_sdxl
from worker.models.unet import UNetBase

ONE_LATENT = SelfReplayOptions(latents_per_concept=1, neutral_latents=1, sampling_steps=2)
TAUGHT = TaughtConcept(name="rex", kind=ConceptKind.OBJECT, class_noun="dog", token="sks")
TAUGHT_TOO = TaughtConcept(name="mug", kind=ConceptKind.OBJECT, class_noun="cup", token="xyz")


def _export(world: World, lineage_id: object, kind: AdapterFormat, family: Family = Family.SD) -> bytes:
    links = [Link(MergeOptions(), world.adapter(lineage_id, number)) for number in (1, 2)]  # type: ignore[arg-type]
    return export_adapter(links, Export(kind, family))


@pytest.mark.parametrize("write", [write_tiny_sd, write_tiny_sdxl])
def test_an_export_is_imported_and_draws_the_same_pictures(
    settings: Settings, bases: Path, write: Callable[[Path], BaseModelManifest]
) -> None:
    world = World.create(settings, bases, write)
    trained, runner = world.lineage(), world.runner()
    for name in ("dog", "vase"):
        world.train(trained, name)
    runner.run_until_idle(KINDS)
    drawings = [world.generate(trained, 2)]
    for kind in AdapterFormat:
        lineage_id = world.lineage(NaiveOptions())
        job_id = world.import_file(lineage_id, _export(world, trained, kind, world.base_model.family), TAUGHT)
        runner.run_until_idle(KINDS)
        assert world.job(job_id).result == TrainResult(lineage_id=lineage_id, version=1), world.job(job_id).error
        version = world.version(lineage_id, 1)
        assert isinstance(version.provenance, ImportProvenance)
        assert (version.provenance.format, version.taught, version.concept_id) == (kind, TAUGHT, None)
        drawings.append(world.generate(lineage_id, 1))
    # What is learned on top of it goes by the lineage's own strategy.
    follower = world.train(lineage_id, "cup")
    runner.run_until_idle(KINDS)
    assert world.job(follower).result == TrainResult(lineage_id=lineage_id, version=2)
    pictures = [[np.asarray(picture, np.int16) for picture in world.pictures(job_id)] for job_id in drawings]
    for imported in pictures[1:]:
        # The factors' product is the same sum in another order, which may round a pixel to its neighbour.
        assert np.abs(np.subtract(imported, pictures[0])).max() <= 1
    sweep(world)
    assert (world.objects(ObjectStatus.DEAD), world.job(job_id).input_object_id) == (0, None)
    world.engine.dispose()


def test_what_does_not_fit_is_counted_and_publishes_nothing(world: World) -> None:
    trained = world.lineage()
    world.train(trained, "dog")
    world.runner().run_until_idle(KINDS)
    tensors = load(world.adapter(trained, 1))
    foreign = {key.replace("down_blocks.0", "down_blocks.7"): tensor for key, tensor in tensors.items()}
    moved = {key for key in foreign if "down_blocks.7" in key}
    lineage_id = world.lineage()
    job_id = world.import_file(lineage_id, save_numpy(foreign))
    world.runner().run_until_idle(KINDS)
    job = world.job(job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.type == "invalid-adapter"
    (fault,) = job.error.errors
    assert fault.field == min(moved)
    assert fault.message.startswith("the base model has no such linear or convolutional layer")
    assert f"({len(moved) // 2} of this kind" in fault.message
    with transaction(world.engine) as session:
        assert session.get_one(Lineage, lineage_id).head_version_id == world.version(lineage_id, 0).id
    sweep(world)
    assert world.job(job_id).input_object_id is None


@pytest.mark.parametrize(
    ("strategy", "note"), [(ONE_LATENT, "earlier_latents"), (NullSpaceOptions(), "protected_directions")]
)
def test_all_concepts_of_a_file_are_protected(world: World, strategy: StrategyOptions, note: str) -> None:
    """The next training replays or shields what each of them was taught with, not the first alone."""
    trained, runner = world.lineage(), world.runner()
    world.train(trained, "dog")
    runner.run_until_idle(KINDS)
    file, notes = world.adapter(trained, 1), []
    for concepts in ((TAUGHT,), (TAUGHT, TAUGHT_TOO)):
        lineage_id = world.lineage(strategy)
        world.import_file(lineage_id, file, concepts=concepts)
        world.train(lineage_id, f"vase {len(concepts)}")
        runner.run_until_idle(KINDS)
        provenance = world.version(lineage_id, 2).provenance
        assert isinstance(provenance, Provenance)
        notes.append(provenance.strategy_notes[note])
    assert notes[1] > notes[0]


def test_no_concept_of_a_file_falls_off_a_prompt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a family that cuts prompts."""
    monkeypatch.delattr(UNetBase, "unheard")
    trained, runner = world.lineage(), world.runner()
    world.train(trained, "dog")
    runner.run_until_idle(KINDS)
    lineage_id = world.lineage()
    world.import_file(lineage_id, world.adapter(trained, 1), concepts=(TAUGHT, TAUGHT_TOO))
    runner.run_until_idle(KINDS)
    job_id = world.generate(lineage_id, 1, "a red cup and " * 9 + TAUGHT_TOO.phrase())
    runner.run_until_idle(KINDS)
    error = world.job(job_id).error
    assert error is not None
    assert "<mug>" in error.errors[0].message
