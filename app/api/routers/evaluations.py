"""Evaluations: ask what each concept has cost the earlier ones, and fetch the answer."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from app.api.dependencies import Caller, PageWindow, ServicesOfProcess, Transaction
from app.api.documented import READ, READ_ONE, REMOVE, WRITE, Responses, binary, problems
from app.api.door import Door
from app.api.files import file_response
from app.api.once import OnlyOnce, accepted
from app.api.schemas.evaluations import EvaluationBody, EvaluationPage, NewEvaluationBody
from app.api.schemas.jobs import JobBody
from app.domain.evaluations import EvaluationFileName
from app.services import evaluations
from app.services.context import Work, open_work
from app.services.evaluation_csv import to_csv
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1", tags=["evaluations"], route_class=Door)

_BY_DEFAULT = NewEvaluationBody()
_CSV: Responses = {200: {"description": "One line for each cell.", "content": {"text/csv": {"example": "version,…"}}}}
_FIGURE = binary("image/png", "The figure: a PNG or an SVG, as its name says.")


@router.post("/lineages/{lineage_id}/evaluations", status_code=202, response_model=JobBody, responses=WRITE)
async def create_evaluation(
    lineage_id: UUID, caller: Caller, once: OnlyOnce, body: NewEvaluationBody = _BY_DEFAULT
) -> Response:
    """Queue the evaluation of a version and its ancestors. `result.evaluation_id` is there from the start."""

    async def act(work: Work) -> Answer:
        row = await evaluations.submit_evaluation(
            work, caller.id, lineage_id, body.version, body.options, isolated=body.isolated
        )
        return accepted(JobBody.of(row), f"/v1/jobs/{row[0].id}")

    return await once.run(act, body)


@router.get("/evaluations", responses=READ)
async def list_evaluations(
    caller: Caller, work: Transaction, window: PageWindow, lineage_id: Annotated[UUID | None, Query()] = None
) -> EvaluationPage:
    """List your evaluations."""
    rows = await evaluations.list_evaluations(work.session, caller.id, window, lineage_id)
    page = rows.map(EvaluationBody.of)
    return EvaluationPage(items=list(page.items), next_cursor=page.next_cursor)


# Before the route of the evaluation itself, which would take the ending for a part of the id.
@router.get("/evaluations/{evaluation_id}.csv", response_class=Response, responses=READ_ONE | _CSV)
async def get_evaluation_csv(evaluation_id: UUID, caller: Caller, work: Transaction) -> Response:
    """Download the matrix as CSV. 404 until the job has succeeded."""
    result = await evaluations.get_result(work.session, caller.id, evaluation_id)
    headers = {"Content-Disposition": f'attachment; filename="{evaluation_id}.csv"'}
    return Response(to_csv(result), headers=headers, media_type="text/csv")


@router.get("/evaluations/{evaluation_id}", responses=READ_ONE)
async def get_evaluation(evaluation_id: UUID, caller: Caller, work: Transaction) -> EvaluationBody:
    """Show an evaluation; `result` and `files` fill when its job has succeeded."""
    return EvaluationBody.of(await evaluations.get_evaluation(work.session, caller.id, evaluation_id))


@router.delete("/evaluations/{evaluation_id}", status_code=204, responses=REMOVE | problems(409))
async def delete_evaluation(evaluation_id: UUID, caller: Caller, work: Transaction) -> None:
    """Delete an evaluation and its figures, and cancel its job."""
    await evaluations.delete_evaluation(work.session, caller.id, evaluation_id)


@router.get("/evaluations/{evaluation_id}/{file}", response_class=Response, responses=READ_ONE | _FIGURE)
async def get_evaluation_file(
    evaluation_id: UUID, file: EvaluationFileName, request: Request, caller: Caller, services: ServicesOfProcess
) -> Response:
    """Download a figure: the heatmap, the curve over versions, the contact sheet. 404 until it is drawn."""
    async with open_work(services, caller.id) as work:
        row = await evaluations.get_file(work.session, caller.id, evaluation_id, file)
    return await file_response(request, services, caller.id, row)
