"""What a worker would write, put straight into the rows: these tests are about the front end."""

from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from sqlalchemy import func, select, update

from app.db.evaluation_tables import Evaluation, EvaluationFile
from app.db.session import transaction
from app.db.tables import GenerationImage, Job, Lineage, ObjectStatus, StoredObject, Version
from app.domain.evaluations import EvaluationFileName, EvaluationResult
from app.domain.jobs import GenerateParams, JobStatus, Phase, TrainParams, TrainResult
from app.domain.lineages import Machine, Provenance, VersionStatus
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from app.storage import ObjectStore, describe_object
from tests.integration.api.inputs import image
from tests.integration.api.state import Server

MODULES = {"mid.to_q": (6, 5), "up.to_out.0": (4, 7)}
"""(d_out, d_in) of what the fake base adapts."""

EVALUATION_RESULT: dict[str, Any] = {
    "versions": [
        {"version": 0, "concept": None, "base_drift": 0.0},
        {"version": 1, "concept": "rex", "base_drift": 0.5},
    ],
    "concepts": [
        {
            "name": "rex",
            "kind": "object",
            "class_noun": "dog",
            "token": "tok0",
            "learned_in": 1,
            "references": 2,
            "encoder": "lite0-what",
            "forgetting": 0.0,
            "retention": None,
            "self_retention": 1.0,
        }
    ],
    "scores": [[0.25], [0.75]],
    "standard_errors": [[0.01], [0.02]],
    "isolated": [0.875],
    "real": [0.95],
    "real_through_vae": [0.9],
    "second": {
        "encoder": "icons-64-what",
        "concepts": ["rex"],
        "scores": [[0.5], [0.625]],
        "standard_errors": [[0.01], [0.02]],
        "isolated": None,
        "self_retention": [[None], [1.0]],
        "real": [0.99],
        "real_through_vae": [None],
        "average_score": 0.625,
        "average_forgetting": None,
        "retention": None,
    },
    "compositions": [],
    "self_retention": [[None], [1.0]],
    "prompt_alignment": [[None], [None]],
    "confusion": [[1.0]],
    "metrics": {
        "average_score": 0.75,
        "average_forgetting": None,
        "average_forgetting_paper": 0.0,
        "plasticity": 0.75,
        "intransigence": 0.125,
        "backward_transfer": None,
        "retention": 0.8,
        "self_retention": 1.0,
        "base_drift": 0.5,
        "prompt_alignment": None,
        "composition": None,
    },
    "pictures_drawn": 32,
    "pictures_reused": 0,
    "seconds": 12.5,
}
"""What a worker may have found of a lineage with one version."""

PROVENANCE = Provenance(
    base_model="tiny",
    base_fingerprint="f",
    parent_adapter_sha256=None,
    image_sha256s=("a", "b"),
    instance_prompt="a photo of tok0 dog",
    strategy=MergeOptions(),
    training=TrainingOptions(steps=33),
    adapter_sha256="c",
    final_loss=0.5,
    attempts=1,
    training_seconds=3.0,
    machine=Machine(device="cpu", torch_threads=1, code_version="1", python_version="3", libraries={}),
)
"""What a worker may have written down of a training."""

Factors = dict[str, NDArray[np.float32]]


def random_factors(seed: int, rank: int) -> Factors:
    """An adapter's tensors, as a worker stores them."""
    draw = np.random.default_rng(seed)
    tensors: Factors = {}
    for name, (d_out, d_in) in MODULES.items():
        tensors[f"unet.{name}.lora_A.weight"] = draw.standard_normal((rank, d_in)).astype(np.float32)
        tensors[f"unet.{name}.lora_B.weight"] = draw.standard_normal((d_out, rank)).astype(np.float32)
    return tensors


def adapter_bytes(factors: Factors, scale: float) -> bytes:
    """The stored file."""
    return save(factors, metadata={"format": "palimpsest-adapter-1", "scale": repr(scale)})


def start(server: Server, job_id: str, step: int = 0) -> None:
    """A worker claims the job and has done that many steps."""
    head = select(Lineage.head_version_id).where(Lineage.id == Job.lineage_id).scalar_subquery()
    with transaction(server.engine) as session:
        session.execute(
            update(Job)
            .where(Job.id == UUID(job_id))
            .values(
                status=JobStatus.RUNNING,
                attempt=Job.attempt + 1,
                started_at=func.clock_timestamp(),
                parent_version_id=head,
                phase=Phase.TRAINING,
                step=step,
                seconds_per_step=0.5,
                loss=0.25,
            )
        )


def publish_version(server: Server, job_id: str, data: bytes) -> int:
    """A worker finishes the train job; the version's number. It is held if the head has moved since the job started."""
    with transaction(server.engine) as session:
        job = session.get_one(Job, UUID(job_id))
        assert isinstance(job.params, TrainParams)
        lineage = session.get_one(Lineage, job.lineage_id)
        parent_id = job.parent_version_id or lineage.head_version_id
        version = Version(
            lineage_id=lineage.id,
            number=lineage.take_number(),
            status=VersionStatus.LIVE if parent_id == lineage.head_version_id else VersionStatus.HELD,
            parent_id=parent_id,
            concept_id=job.params.concept_id,
            taught=job.params.taught,
            strategy=job.params.strategy,
            training=job.params.training,
            adapter_object_id=_stored(server, job.user_id, "adapters", data),
        )
        session.add(version)
        session.flush()
        if version.status is VersionStatus.LIVE:
            lineage.head_version_id = version.id
        job.status = JobStatus.SUCCEEDED
        job.result = TrainResult(lineage_id=lineage.id, version=version.number)
        return version.number


def remember(server: Server, provenance: Provenance) -> None:
    """A worker wrote this down of every lineage's version 1."""
    with transaction(server.engine) as session:
        session.execute(update(Version).where(Version.number == 1).values(provenance=provenance))


def publish_pictures(server: Server, job_id: str, count: int) -> list[bytes]:
    """A worker finishes the generate job; the pictures."""
    pictures = [image(color=(number, 0, 0)) for number in range(count)]
    with transaction(server.engine) as session:
        job = session.get_one(Job, UUID(job_id))
        assert isinstance(job.params, GenerateParams)
        for position, data in enumerate(pictures):
            stored = _stored(server, job.user_id, "pictures", data)
            session.add(GenerationImage(generation_id=job.params.generation_id, position=position, object_id=stored))
        job.status = JobStatus.SUCCEEDED
    return pictures


def publish_evaluation(server: Server, job: dict[str, Any]) -> bytes:
    """A worker finishes the evaluate job; the heatmap."""
    data = image(color="green")
    evaluation_id = UUID(job["result"]["evaluation_id"])
    with transaction(server.engine) as session:
        row = session.get_one(Evaluation, evaluation_id)
        name, stored = EvaluationFileName.HEATMAP_PNG, _stored(server, row.user_id, "evaluations", data)
        session.add(EvaluationFile(evaluation_id=evaluation_id, name=name, object_id=stored))
        row.result = EvaluationResult.model_validate(EVALUATION_RESULT)
        session.get_one(Job, UUID(job["id"])).status = JobStatus.SUCCEEDED
    return data


def _stored(server: Server, user_id: UUID, kind: str, data: bytes) -> UUID:
    row: StoredObject = describe_object(user_id, kind, data, "image/png")
    row.status = ObjectStatus.LIVE
    with transaction(server.engine) as session:
        session.add(row)
    ObjectStore(server.settings).put(row, data)
    return row.id


def teach(server: Server, submitted: dict[str, str], seed: int, rank: int = 4, scale: float = 1.0) -> int:
    """A worker does a submitted train job with random factors; the version's number."""
    return publish_version(server, submitted["id"], adapter_bytes(random_factors(seed, rank), scale))
