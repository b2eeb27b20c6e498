"""Rows by the thousand, put where the API reads them."""

from uuid import UUID, uuid4

from sqlalchemy import insert

from app.db.session import transaction
from app.db.tables import Generation, GenerationImage, Job, Lineage, ObjectStatus, StoredObject
from app.domain.jobs import GenerateParams, GenerateResult, JobKind, JobStatus
from tests.hostile.place import Place


def draw_many(api: Place, lineage_id: str, count: int, pictures: int) -> None:
    """That many generations that have succeeded, each with so many pictures, whose bytes are nowhere."""
    with transaction(api.engine) as session:
        lineage = session.get_one(Lineage, UUID(lineage_id))
        ids = [uuid4() for _ in range(count)]
        common = {"user_id": lineage.user_id, "lineage_id": lineage.id}
        texts = {"prompt": "a cat", "resolved_prompt": "a cat", "negative_prompt": None}
        numbers = {"num_images": pictures, "seed": 1, "steps": 1, "guidance_scale": 1.0}
        version = {"version_id": lineage.head_version_id}
        session.execute(insert(Generation), [{"id": one, **common, **version, **texts, **numbers} for one in ids])
        for one in ids:
            session.add(
                Job(
                    user_id=lineage.user_id,
                    lineage_id=lineage.id,
                    base_model=lineage.base_model,
                    kind=JobKind.GENERATE,
                    params=GenerateParams(generation_id=one),
                    result=GenerateResult(generation_id=one),
                    status=JobStatus.SUCCEEDED,
                    generation_id=one,
                )
            )
        session.flush()
        for one in ids:
            objects = [_object(lineage.user_id) for _ in range(pictures)]
            session.execute(insert(StoredObject), objects)
            rows = [
                {"generation_id": one, "position": n, "object_id": stored["id"]} for n, stored in enumerate(objects)
            ]
            session.execute(insert(GenerationImage), rows)


def _object(user_id: UUID) -> dict[str, object]:
    own = uuid4()
    return {
        "id": own,
        "user_id": user_id,
        "kind": "pictures",
        "key": f"users/{user_id}/pictures/{own}",
        "sha256": "0" * 64,
        "size_bytes": 1000,
        "content_type": "image/png",
        "status": ObjectStatus.LIVE,
    }
