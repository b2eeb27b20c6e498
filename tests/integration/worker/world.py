"""A user with concepts and lineages over the tiny base, written straight into the real services."""

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import UUID

from PIL import Image, ImageDraw
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.db.evaluation_queries import evaluate_job, evaluation_of_line
from app.db.evaluation_tables import Evaluation
from app.db.histories import in_history
from app.db.jobs import new_job
from app.db.session import make_engine, transaction
from app.db.tables import (
    BaseModelRow,
    Concept,
    ConceptImage,
    Generation,
    GenerationImage,
    Job,
    Lineage,
    ObjectStatus,
    StoredObject,
    User,
    Version,
)
from app.domain.adapters import ImportOptions
from app.domain.base_models import BaseModelManifest
from app.domain.concepts import ConceptKind, TaughtConcept
from app.domain.erasure import EraseMode
from app.domain.evaluations import EvaluationPolicy
from app.domain.jobs import (
    EraseParams,
    GenerateParams,
    GenerateResult,
    ImportParams,
    JobKind,
    JobParams,
    ReproduceParams,
    TrainParams,
)
from app.domain.lineages import VersionStatus
from app.domain.strategies import (
    STRATEGIES,
    EwcOptions,
    MergeOptions,
    NullSpaceOptions,
    SelfReplayOptions,
    StrategyOptions,
)
from app.domain.strategies_by_kind import strategy_for
from app.domain.training import TrainingOptions
from app.settings import Settings
from app.storage import ObjectStore, describe_object
from tests.tiny_pipelines import write_tiny_sd
from worker.attempt.chain import ancestry
from worker.runner import Runner

TRAINING = TrainingOptions(rank=2, steps=6, batch_size=1, learning_rate=1e-3)
KINDS = (JobKind.TRAIN, JobKind.GENERATE)
QUICK: dict[str, StrategyOptions] = {
    "self_replay": SelfReplayOptions(latents_per_concept=1, neutral_latents=2, sampling_steps=2),
    "null_space": NullSpaceOptions(gradient_batches=2),
    "ewc": EwcOptions(fisher_samples=2),
}
EVERY_STRATEGY = [QUICK.get(name, options()) for name, options in STRATEGIES.items()]
"""With options under which none takes long."""


def picture(seed: int) -> bytes:
    """A small PNG, another one for each seed."""
    image = Image.new("RGB", (64, 64), (seed * 53 % 256, 90, 160))
    ImageDraw.Draw(image).ellipse((8 + seed % 16, 8, 48, 48), fill=(200, seed * 31 % 256, 40))
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


@cache
def _written(base: Path, write: Callable[[Path], BaseModelManifest]) -> BaseModelManifest:
    return write(base)


@dataclass
class World:
    """What the tests of the job path act on."""

    settings: Settings
    engine: Engine
    store: ObjectStore
    user_id: UUID
    base_model: BaseModelManifest
    shutdown: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def create(
        cls, settings: Settings, bases: Path, write: Callable[[Path], BaseModelManifest] = write_tiny_sd
    ) -> "World":
        """One user, and the tiny base that `write` writes registered; in `bases` it is written once for all tests."""
        assert settings.database_url is not None
        engine = make_engine(settings.database_url)
        base = bases / write.__name__
        manifest = _written(base, write)
        with transaction(engine) as session:
            user = User(name="ada")
            session.add_all([user, BaseModelRow(name=manifest.name, source=str(base), manifest=manifest)])
        # One thread: a second one only waits for the first in matrices this small.
        settings = settings.model_copy(update={"torch_threads": 1})
        return cls(settings, engine, ObjectStore(settings), user.id, manifest)

    def runner(self, **changes: float) -> Runner:
        """A worker on the same services, with some settings changed."""
        return Runner(self.settings.model_copy(update=changes), self.engine, self.store, self.shutdown)

    def concept(self, name: str) -> UUID:
        """A concept of two images."""
        with transaction(self.engine) as session:
            concept = Concept(user_id=self.user_id, name=name, kind=ConceptKind.OBJECT, class_noun="toy")
            session.add(concept)
            session.flush()
            for position in range(2):
                data = picture(sum(name.encode()) + position)
                row = describe_object(self.user_id, "images", data, "image/png")
                row.status = ObjectStatus.LIVE
                self.store.put(row, data)
                session.add(row)
                session.flush()
                session.add(
                    ConceptImage(concept_id=concept.id, position=position, object_id=row.id, width=64, height=64)
                )
            return concept.id

    def lineage(self, strategy: StrategyOptions | None = None, evaluation: EvaluationPolicy | None = None) -> UUID:
        """An empty lineage: version 0 is its head."""
        with transaction(self.engine) as session:
            lineage = Lineage(
                user_id=self.user_id,
                name="line",
                base_model=self.base_model.name,
                strategy=strategy or MergeOptions(),
                training=TRAINING,
                evaluation=evaluation or EvaluationPolicy(),
            )
            session.add(lineage)
            session.flush()
            zero = Version(lineage_id=lineage.id, number=0, status=VersionStatus.LIVE)
            session.add(zero)
            session.flush()
            lineage.head_version_id = zero.id
            return lineage.id

    def branch(self, lineage_id: UUID, number: int, strategy: StrategyOptions | None = None) -> UUID:
        """A lineage forked from that version, which is its head."""
        fork = self.version(lineage_id, number)
        with transaction(self.engine) as session:
            branch = Lineage(
                user_id=self.user_id,
                name="branch",
                base_model=self.base_model.name,
                strategy=strategy or MergeOptions(),
                training=TRAINING,
                head_version_id=fork.id,
                forked_from_version_id=fork.id,
                next_number=number + 1,
            )
            session.add(branch)
            session.flush()
            return branch.id

    def train(self, lineage_id: UUID, name: str, training: TrainingOptions = TRAINING) -> UUID:
        """A queued train job for a new concept."""
        concept_id = self.concept(name)
        with transaction(self.engine) as session:
            lineage = session.get_one(Lineage, lineage_id)
            tokens = self.base_model.rare_tokens
            token = tokens[session.query(Job).count() % len(tokens)]
            taught = TaughtConcept(name=name, kind=ConceptKind.OBJECT, class_noun="toy", token=token)
            strategy = strategy_for(taught.kind, lineage.strategy)
            params = TrainParams(concept_id=concept_id, taught=taught, strategy=strategy, training=training)
            return self._add_job(session, lineage_id, params)

    def generate(
        self, lineage_id: UUID, number: int, prompt: str = "a photo of a toy", *, exact: bool = True, width: int = 64
    ) -> UUID:
        """A queued generate job of two pictures from that version; its generation has the job's result."""
        with transaction(self.engine) as session:
            generation = Generation(
                user_id=self.user_id,
                lineage_id=lineage_id,
                version_id=self.version(lineage_id, number).id,
                prompt=prompt,
                resolved_prompt=prompt,
                negative_prompt=None,
                num_images=2,
                seed=11,
                steps=3,
                guidance_scale=2.0,
                width=width,
                height=64,
                exact=exact,
            )
            session.add(generation)
            session.flush()
            params = GenerateParams(generation_id=generation.id)
            result = GenerateResult(generation_id=generation.id)
            return self._add_job(session, lineage_id, params, result, generation.version_id)

    def reproduce(self, lineage_id: UUID, number: int) -> UUID:
        """A queued job that trains a version again."""
        version = self.version(lineage_id, number)
        assert version.concept_id is not None
        params = ReproduceParams(version_id=version.id, concept_id=version.concept_id)
        with transaction(self.engine) as session:
            return self._add_job(session, lineage_id, params)

    def submit(self, lineage_id: UUID, params: JobParams) -> UUID:
        """A queued job with these parameters."""
        with transaction(self.engine) as session:
            return self._add_job(session, lineage_id, params)

    def erase(self, lineage_id: UUID, concept_id: UUID, mode: EraseMode) -> UUID:
        """A queued job that erases a concept."""
        params = EraseParams(concept_id=concept_id, mode=mode)
        with transaction(self.engine) as session:
            return self._add_job(session, lineage_id, params)

    def import_file(
        self,
        lineage_id: UUID,
        data: bytes,
        taught: TaughtConcept | None = None,
        options: ImportOptions | None = None,
        concepts: tuple[TaughtConcept, ...] = (),
    ) -> UUID:
        """A queued import job for that file."""
        row = describe_object(self.user_id, "imports", data, "application/octet-stream")
        row.status = ObjectStatus.LIVE
        self.store.put(row, data)
        params = ImportParams(
            file_name="a.safetensors",
            file_sha256=row.sha256,
            options=options or ImportOptions(),
            taught=taught,
            concepts=concepts,
        )
        with transaction(self.engine) as session:
            session.add(row)
            session.flush()
            job_id = self._add_job(session, lineage_id, params)
            session.get_one(Job, job_id).input_object_id = row.id
            return job_id

    def evaluate(self, lineage_id: UUID, number: int, *, isolated: bool = False) -> UUID:
        """A queued evaluate job for that version; its evaluation is in the job's result."""
        with transaction(self.engine) as session:
            lineage = session.get_one(Lineage, lineage_id)
            line = ancestry(session, self.version(lineage_id, number).id)
            job, evaluation_id = evaluate_job(lineage, line[-1].id)
            session.add(job)
            session.flush()
            protocol = self.base_model.evaluation
            evaluation = evaluation_of_line(lineage, line, job.id, protocol, isolated=isolated)
            evaluation.id = evaluation_id
            session.add(evaluation)
            return job.id

    def evaluation(self, evaluation_id: UUID) -> Evaluation:
        """An evaluation's row as it is now."""
        with transaction(self.engine) as session:
            return session.get_one(Evaluation, evaluation_id)

    def _add_job(
        self,
        session: Session,
        lineage_id: UUID,
        params: JobParams,
        result: GenerateResult | None = None,
        version_id: UUID | None = None,
    ) -> UUID:
        lineage = session.get_one(Lineage, lineage_id)
        job = new_job(lineage, params, version_id=version_id, result=result, total_steps=TRAINING.steps)
        session.add(job)
        session.flush()
        return job.id

    def job(self, job_id: UUID) -> Job:
        """The job's row as it is now."""
        with transaction(self.engine) as session:
            return session.get_one(Job, job_id)

    def version(self, lineage_id: UUID, number: int) -> Version:
        """A version's row."""
        with transaction(self.engine) as session:
            query = select(Version).where(in_history(lineage_id), Version.number == number)
            return session.scalars(query).one()

    def adapter(self, lineage_id: UUID, number: int) -> bytes:
        """A version's stored adapter, proved by its hash."""
        object_id = self.version(lineage_id, number).adapter_object_id
        assert object_id is not None
        return self.read(object_id)

    def row(self, object_id: UUID | None) -> StoredObject:
        """An object's row."""
        with transaction(self.engine) as session:
            return session.get_one(StoredObject, object_id)

    def read(self, object_id: UUID) -> bytes:
        """An object's bytes, proved by their hash."""
        return self.store.get(self.row(object_id))

    def pictures(self, job_id: UUID) -> list[Image.Image]:
        """What a generate job has published."""
        result = self.job(job_id).result
        assert isinstance(result, GenerateResult)
        with transaction(self.engine) as session:
            query = (
                select(StoredObject)
                .join(GenerationImage, GenerationImage.object_id == StoredObject.id)
                .where(GenerationImage.generation_id == result.generation_id)
                .order_by(GenerationImage.position)
            )
            rows = session.scalars(query).all()
        return [Image.open(io.BytesIO(self.store.get(row))) for row in rows]

    def objects(self, status: ObjectStatus) -> int:
        """How many objects have that status."""
        with transaction(self.engine) as session:
            return session.query(StoredObject).filter(StoredObject.status == status).count()

    def keys(self) -> set[str]:
        """What the bucket holds."""
        return {listed.key for listed in self.store.list()}
