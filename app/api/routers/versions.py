"""Versions of a lineage: train, look, take the adapter along."""

from contextlib import AsyncExitStack
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response

from app.api.body import while_present
from app.api.dependencies import Caller, PageWindow, ServicesOfProcess, Transaction
from app.api.documented import ACT, ERASED, READ_ONE, WRITE, binary, problems
from app.api.door import Door
from app.api.files import FileResponse, is_known
from app.api.once import OnlyOnce, accepted, done
from app.api.schemas.jobs import JobBody
from app.api.schemas.lineages import NewVersionBody, VersionBody, VersionPage
from app.domain.adapters import AdapterFormat, Precision
from app.domain.base import Value
from app.services import branching, reproductions, training, versions
from app.services.context import Services, Work, open_work
from app.services.exports import exported
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1/lineages/{lineage_id}/versions", tags=["versions"], route_class=Door)

Number = Annotated[int, Path(ge=0, le=2**31 - 1, description="0 is the base itself.")]


@router.post("", status_code=202, response_model=JobBody, responses=WRITE)
async def create_version(lineage_id: UUID, body: NewVersionBody, caller: Caller, once: OnlyOnce) -> Response:
    """Teach a concept: queue a train job that makes a version on top of the head."""

    async def act(work: Work) -> Answer:
        row = await training.submit_training(work, caller.id, lineage_id, body.concept_id, body.training)
        return accepted(JobBody.of(row), f"/v1/jobs/{row[0].id}")

    return await once.run(act, body)


@router.get("", responses=READ_ONE)
async def list_versions(lineage_id: UUID, caller: Caller, work: Transaction, window: PageWindow) -> VersionPage:
    """List the versions of a lineage."""
    rows = await versions.list_versions(work.session, caller.id, lineage_id, window)
    page = rows.map(lambda row: VersionBody.of(lineage_id, row))
    return VersionPage(items=list(page.items), next_cursor=page.next_cursor)


@router.get("/{number}", responses=READ_ONE | ERASED)
async def get_version(lineage_id: UUID, number: Number, caller: Caller, work: Transaction) -> VersionBody:
    """Show a version."""
    return VersionBody.of(lineage_id, await versions.get_version(work.session, caller.id, lineage_id, number))


@router.post("/{number}/promote", response_model=VersionBody, responses=ACT | ERASED)
async def promote_version(lineage_id: UUID, number: Number, caller: Caller, once: OnlyOnce) -> Response:
    """Make a version the head that is not on the way to it: a held one, or one that a rollback left aside."""

    async def act(work: Work) -> Answer:
        row = await branching.promote(work.session, caller.id, lineage_id, number)
        return done(VersionBody.of(lineage_id, row))

    return await once.run(act, Value())


@router.post("/{number}/reproduce", status_code=202, response_model=JobBody, responses=ACT | ERASED)
async def reproduce_version(lineage_id: UUID, number: Number, caller: Caller, once: OnlyOnce) -> Response:
    """Train a version again from what is recorded of it, and compare the two adapters; nothing is published.

    The job's result tells whether they are the same, bit for bit, how far apart they are, and what has changed since:
    the base, the images, the machine, the software.
    """

    async def act(work: Work) -> Answer:
        row = await reproductions.submit_reproduction(work, caller.id, lineage_id, number)
        return accepted(JobBody.of(row), f"/v1/jobs/{row[0].id}")

    return await once.run(act, Value())


@router.get(
    "/{number}/adapter",
    response_class=Response,
    responses=READ_ONE
    | ERASED
    | problems(409, 413)
    | binary("application/octet-stream", "Safetensors: everything that the version has learned, as one LoRA."),
)
async def download_adapter(
    lineage_id: UUID,
    number: Number,
    request: Request,
    caller: Caller,
    services: ServicesOfProcess,
    kind: Annotated[
        AdapterFormat, Query(alias="format", description="Whose names the tensors have.")
    ] = AdapterFormat.DIFFUSERS,
    max_rank: Annotated[
        int | None,
        Query(
            ge=1,
            le=4096,
            description="Write the nearest LoRA of at most this rank, and its error in the metadata. Left out: the "
            "version exactly; after strategy magnitude, whose updates are of full rank, it is needed.",
        ),
    ] = None,
    precision: Annotated[
        Precision, Query(description="The numbers' precision. fp16 halves the file, and has less range than bf16.")
    ] = Precision.FP32,
    concept: Annotated[
        str | None,
        Query(max_length=64, description="The name of one concept of a version that has an adapter for each."),
    ] = None,
) -> Response:
    """Download a version's adapter: its whole ancestry folded into one LoRA of scale 1."""
    wanted = versions.Wanted(kind, max_rank, concept, precision)
    async with open_work(services, caller.id) as work:
        plan = await versions.plan_export(work.session, caller.id, lineage_id, number, wanted)
    headers = {
        "ETag": f'"{plan.digest()}"',
        "Content-Disposition": f'attachment; filename="{lineage_id}-v{number}-{kind.value}.safetensors"',
    }
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return await while_present(request, _export(services, caller.id, plan, headers))


async def _export(services: Services, user_id: UUID, plan: versions.ExportPlan, headers: dict[str, str]) -> Response:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services.gates.downloads.turn(user_id))
        path = await stack.enter_async_context(exported(services, user_id, plan))
        file = stack.enter_context(path.open("rb"))
        return FileResponse(file, path.stat().st_size, "application/octet-stream", headers, stack.pop_all())
