"""R*: a concept learned alone, from the base; what a lineage would keep of it if nothing came before or after."""

import hashlib
import json
from dataclasses import dataclass

from PIL import Image

from app.domain.base_models import BaseModelManifest
from app.domain.concepts import TaughtConcept
from app.domain.strategies import MergeOptions
from app.domain.training import TrainingOptions
from worker.adapters.accumulated import Update, added
from worker.adapters.factors import from_bytes, to_bytes
from worker.attempt.job_context import JobContext
from worker.evaluation.evaluation_task import Store, Subject
from worker.jobs.evaluate.hooks import IsolatedTrainingHooks, JobEvaluationHooks
from worker.models.base import Base
from worker.training.loop import train
from worker.training.training_task import TrainingTask

# Raised whenever the same inputs make another adapter.
_RULES_VERSION = "2"


@dataclass(frozen=True)
class IsolatedConcept:
    """A concept of a version, and how it is learned alone: the version's own images, token and training options."""

    images: tuple[Image.Image, ...]
    image_sha256s: tuple[str, ...]
    taught: TaughtConcept
    training: TrainingOptions


def isolated_subject(
    context: JobContext,
    base: Base,
    manifest: BaseModelManifest,
    concept: IsolatedConcept,
    store: Store,
    hooks: JobEvaluationHooks,
) -> Subject:
    """The base with this concept alone, by `merge`; it is trained when it is first asked for, unless it was before."""
    task = TrainingTask(
        images=concept.images,
        instance_prompt=concept.taught.instance_prompt(),
        training=concept.training,
        strategy=MergeOptions(),
        chain=(),
        adapted_modules=concept.training.adapted_modules or manifest.adapted_modules,
    )
    key = _key(base, task, concept)
    return Subject(key, lambda _: _update(context, base, task, key, store, hooks), store)


def _key(base: Base, task: TrainingTask, concept: IsolatedConcept) -> str:
    about = [_RULES_VERSION, base.fingerprint, task.instance_prompt, task.training.model_dump(mode="json")]
    about += [list(task.adapted_modules), list(concept.image_sha256s)]
    return "isolated " + hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _update(
    context: JobContext, base: Base, task: TrainingTask, key: str, store: Store, hooks: JobEvaluationHooks
) -> Update:
    """From the store from the second prompt on."""
    data = store.get(key)
    if data is None:
        trained = train(base, task, IsolatedTrainingHooks(context, hooks), None)
        data = to_bytes(trained.adapter, {})
        store.put(key, data, "application/octet-stream")
        hooks.resume()
    return added({}, from_bytes(data))
