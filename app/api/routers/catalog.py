"""What there is to choose from: strategies and base models."""

from fastapi import APIRouter, Response

from app.api.dependencies import Admin, Caller, Transaction
from app.api.documented import ADMIN, REMOVE, WRITE, problems
from app.api.door import Door
from app.api.once import OnlyOnce, created
from app.api.schemas.catalog import BaseModelBody, BaseModelPage, NewBaseModelBody, StrategyPage
from app.domain.base_models import BaseModelName
from app.services import catalog
from app.services.context import Work
from app.services.idempotency import Answer

router = APIRouter(prefix="/v1", tags=["catalog"], route_class=Door)


@router.get("/strategies", responses=problems(401, 503))
async def list_strategies(caller: Caller) -> StrategyPage:  # noqa: ARG001
    """List the continual strategies, each with the JSON Schema of its options. Always one page."""
    return StrategyPage.of_all()


@router.get("/base-models", responses=problems(401, 503))
async def list_base_models(caller: Caller, work: Transaction) -> BaseModelPage:  # noqa: ARG001
    """List the base models. Always one page."""
    rows = await catalog.list_base_models(work.session)
    return BaseModelPage(items=[BaseModelBody.of(row) for row in rows], next_cursor=None)


@router.post("/base-models", status_code=201, response_model=BaseModelBody, responses=WRITE | ADMIN)
async def create_base_model(body: NewBaseModelBody, admin: Admin, once: OnlyOnce) -> Response:  # noqa: ARG001
    """Register a base model (admins only)."""

    async def act(work: Work) -> Answer:
        row = await catalog.register_base_model(work.session, body.source, body.manifest)
        return created(BaseModelBody.of(row), f"/v1/base-models/{row.name}")

    return await once.run(act, body)


@router.delete("/base-models/{name}", status_code=204, responses=REMOVE | ADMIN | problems(409))
async def delete_base_model(name: BaseModelName, admin: Admin, work: Transaction) -> None:  # noqa: ARG001
    """Forget a base model that no lineage stands on (admins only)."""
    await catalog.remove_base_model(work.session, name)
