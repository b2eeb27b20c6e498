"""An import job from the uploaded file to the next version of its lineage."""

from app.db.session import transaction
from app.domain.concept_tasks import ImportedConcept
from app.domain.jobs import ImportParams, Phase
from app.domain.lineages import ImportProvenance
from worker.adapters.factors import to_bytes
from worker.adapters.imported import import_adapter
from worker.adapters.probe import probe
from worker.attempt.job_context import JobContext
from worker.attempt.machine import describe_machine
from worker.jobs.publishing import NewVersion, publish


def run(context: JobContext, params: ImportParams) -> None:
    """Check the file against the base, and publish what it holds as a version.

    Whatever strategy the lineage has, the version's own rule is `merge`: its factors are given, and add to the base.
    """
    base, _ = context.bases.get(context.job.base_model)
    assert context.job.input_object_id is not None
    data = context.objects.get(context.job.input_object_id)
    imported = import_adapter(data, base.denoiser, params.options)
    probe(base, imported.adapter)
    context.lease.enter(Phase.PUBLISHING)
    adapter = context.objects.put("adapters", to_bytes(imported.adapter, {}), "application/octet-stream")
    concepts = params.every_concept()
    provenance = ImportProvenance(
        base_model=context.job.base_model,
        base_fingerprint=base.fingerprint,
        file_name=params.file_name,
        file_sha256=params.file_sha256,
        format=imported.file.format,
        ignored_text_encoder_tensors=imported.file.text_encoder_tensors,
        methods=imported.file.methods(),
        scales=imported.scales,
        strength=params.options.strength,
        max_rank=params.options.max_rank,
        relative_error=imported.relative_error,
        concepts=concepts,
        origin=params.origin,
        adapter_sha256=adapter.sha256,
        machine=describe_machine(base.device),
    )
    learned = ImportedConcept(taught=concepts[0] if concepts else None)
    new = NewVersion(learned, adapter, state=None, provenance=provenance)
    with transaction(context.engine) as session:
        publish(session, context, new, steps=1, loss=None)
