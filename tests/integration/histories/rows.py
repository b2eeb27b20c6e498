"""The rows of a history's users beside what the model says of them."""

from uuid import UUID

from tests.integration.histories.model import Model, ModelVersion
from tests.integration.histories.place import Place, Row

_JOBS = """
SELECT id, status, attempt, failures, cancel_requested_at IS NOT NULL, error ->> 'type',
       CASE WHEN status IN ('queued', 'running') THEN checkpoint_object_id IS NOT NULL END,
       (finished_at IS NOT NULL)
FROM jobs WHERE user_id = ANY(:users)
"""
_VERSIONS = """
SELECT v.lineage_id, v.number, p.lineage_id, p.number, v.concept_id, v.status
FROM versions v JOIN lineages l ON l.id = v.lineage_id LEFT JOIN versions p ON p.id = v.parent_id
WHERE l.user_id = ANY(:users)
"""
_LINEAGES = """
SELECT l.id, h.lineage_id, h.number, f.lineage_id, f.number, l.next_number, l.deleted_at IS NOT NULL
FROM lineages l JOIN versions h ON h.id = l.head_version_id
LEFT JOIN versions f ON f.id = l.forked_from_version_id
WHERE l.user_id = ANY(:users)
"""
_CONCEPTS = "SELECT id, deleted_at IS NOT NULL FROM concepts WHERE user_id = ANY(:users)"
_GENERATIONS = "SELECT id, deleted_at IS NOT NULL FROM generations WHERE user_id = ANY(:users)"
_DRAFTS = """
SELECT d.job_id, v.lineage_id, v.number
FROM erasure_drafts d JOIN jobs j ON j.id = d.job_id LEFT JOIN versions v ON v.id = d.version_id
WHERE j.user_id = ANY(:users) AND j.status IN ('queued', 'running')
"""
_NAMED_BUT_NOT_LIVE = """
SELECT o.kind, o.status FROM objects o WHERE o.user_id = ANY(:users) AND o.status <> 'live' AND o.id IN (
    SELECT adapter_object_id FROM versions
    UNION SELECT g.object_id FROM generation_images g JOIN generations n ON n.id = g.generation_id
    UNION SELECT checkpoint_object_id FROM jobs WHERE status IN ('queued', 'running')
    UNION SELECT adapter_object_id FROM erasure_drafts d JOIN jobs j ON j.id = d.job_id
        WHERE j.status IN ('queued', 'running'))
"""
# A token stands for one concept in all that shares a version 0; here every version of a user's lineage has its own.
_TOKENS_TWICE = """
SELECT v.lineage_id, v.taught ->> 'token' FROM versions v JOIN lineages l ON l.id = v.lineage_id
WHERE l.user_id = ANY(:users) AND v.taught IS NOT NULL
GROUP BY v.lineage_id, v.taught ->> 'token' HAVING count(DISTINCT v.concept_id) > 1
"""


def compare(place: Place, model: Model) -> None:
    """Every row of the model's users is as the model has it, and there is no other."""
    users = [user.id for user in model.users]

    def assert_rows(query: str, expected: set[Row]) -> None:
        found = place.rows(query, users)
        assert len(found) == len(set(found))
        assert set(found) == expected, f"found {set(found) - expected}, not {expected - set(found)}"

    assert_rows(_JOBS, _jobs(model))
    assert_rows(_VERSIONS, {_version(version) for version in model.there()})
    assert_rows(_LINEAGES, _lineages(model))
    assert_rows(_CONCEPTS, {(concept.id, concept.is_deleted) for concept in model.concepts if not concept.is_purged})
    assert_rows(_GENERATIONS, {(drawn.id, drawn.is_deleted) for drawn in model.generations if not drawn.is_gone})
    assert_rows(_DRAFTS, _drafts(model))
    assert_rows(_NAMED_BUT_NOT_LIVE, set())
    assert_rows(_TOKENS_TWICE, set())
    for version in model.there():
        assert version.parent is None or version.parent.number < version.number, "parents form no circle"
    for lineage in model.lineages:
        assert lineage.is_purged or lineage.head in model.shown(lineage).values(), "the head is in the history"
        assert lineage.is_purged or not lineage.head.is_held or lineage.head.owner is not lineage, "the head is live"


def insist_on_nothing(place: Place, model: Model) -> None:
    """Nothing is left of the model's users: no row, and no object."""
    users = [user.id for user in model.users]
    objects = "SELECT id FROM objects WHERE user_id = ANY(:users)"
    for query in (_JOBS, _VERSIONS, _LINEAGES, _CONCEPTS, _GENERATIONS, objects):
        assert place.rows(query, users) == []


def _jobs(model: Model) -> set[Row]:
    return {
        (
            job.id,
            job.status.value,
            job.attempt,
            job.failures,
            job.is_cancel_asked,
            job.error,
            job.has_checkpoint if job.is_unfinished() else None,
            not job.is_unfinished(),
        )
        for job in model.jobs
        if not job.is_gone
    }


def _place(version: ModelVersion | None) -> tuple[UUID | None, int | None]:
    if version is None:
        return None, None
    assert version.owner is not None
    return version.owner.id, version.number


def _version(version: ModelVersion) -> Row:
    concept = None if version.concept is None else version.concept.id
    return (*_place(version), *_place(version.parent), concept, "held" if version.is_held else "live")


def _lineages(model: Model) -> set[Row]:
    return {
        (line.id, *_place(line.head), *_place(line.fork), line.next_number, line.is_deleted)
        for line in model.lineages
        if not line.is_purged
    }


def _drafts(model: Model) -> set[Row]:
    unfinished = [job for job in model.jobs if job.is_unfinished()]
    return {(job.id, *_place(version)) for job in unfinished for version in job.drafts}
