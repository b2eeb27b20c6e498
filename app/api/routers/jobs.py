"""Jobs: watch and cancel."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.api.dependencies import Caller, PageWindow, ServicesOfProcess, Transaction, UnprovedKey
from app.api.documented import READ, READ_ONE, WRITE
from app.api.door import Door
from app.api.files import is_known
from app.api.once import OnlyOnce
from app.api.schemas.jobs import JobBody, JobPage
from app.domain.base import Value
from app.domain.jobs import LONG_KINDS, TERMINAL, JobKind, JobStatus
from app.services import jobs, polling
from app.services.context import Work
from app.services.idempotency import Answer
from app.services.jobs import PlacedJob

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=Door)

# A heartbeat brings news every few seconds; a generation may end within one.
_RETRY_AFTER_SECONDS = {kind: 2 if kind in LONG_KINDS else 1 for kind in JobKind}


@router.get("", responses=READ)
async def list_jobs(
    caller: Caller,
    work: Transaction,
    window: PageWindow,
    kind: JobKind | None = None,
    status: JobStatus | None = None,
    lineage_id: Annotated[UUID | None, Query()] = None,
) -> JobPage:
    """List your jobs."""
    page = await jobs.list_jobs(work.session, caller.id, window, kind, status, lineage_id)
    return JobPage(items=[JobBody.of(row) for row in page.items], next_cursor=page.next_cursor)


@router.get(
    "/{job_id}",
    response_model=JobBody,
    responses=READ_ONE | {304: {"description": "Nothing has changed since the answer with that ETag."}},
)
async def get_job(job_id: UUID, request: Request, key: UnprovedKey, services: ServicesOfProcess) -> Response:
    """Show a job. `Retry-After` says when to ask again, and is absent once it has ended."""
    poll = await polling.poll_job(services, key, job_id)
    request.state.user_id = poll.user_id
    headers = {"ETag": f'"{poll.tag}"', "Cache-Control": "private, no-cache"}
    if poll.status not in TERMINAL:
        headers["Retry-After"] = str(_RETRY_AFTER_SECONDS[poll.kind])
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    body = JobBody.of(PlacedJob(poll.job(), poll.queue_position))
    return Response(body.model_dump_json(), headers=headers, media_type="application/json")


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=JobBody,
    responses={200: {"model": JobBody, "description": "It is canceled."}, **WRITE},
)
async def cancel_job(job_id: UUID, caller: Caller, once: OnlyOnce) -> Response:
    """Cancel a job: a queued one at once (200), a running one as soon as its worker hears of it (202)."""

    async def act(work: Work) -> Answer:
        body = JobBody.of(await jobs.cancel_job(work.session, caller.id, job_id))
        return Answer(200 if body.status is JobStatus.CANCELED else 202, body.model_dump_json())

    return await once.run(act, Value())
