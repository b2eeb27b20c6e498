"""Health, for load balancers and people; no API key needed."""

from fastapi import APIRouter

from app.api.dependencies import ServicesOfProcess
from app.api.documented import problems
from app.api.door import Door
from app.api.schemas.catalog import LiveBody, ReadyBody
from app.domain.errors import Fault, NotReadyError

router = APIRouter(prefix="/health", tags=["health"], route_class=Door)


@router.get("/live")
async def live() -> LiveBody:
    """Tell that this process answers."""
    return LiveBody()


@router.get("/ready", responses=problems(503))
async def ready(services: ServicesOfProcess) -> ReadyBody:
    """Tell whether requests can be answered. A broker that is down only degrades: jobs wait until it is back."""
    health = await services.health.look()
    down = [name for name, answers in (("postgres", health.postgres), ("storage", health.storage)) if not answers]
    if down:
        faults = tuple(Fault(field=name, message="does not answer") for name in down)
        raise NotReadyError(f"Out of reach: {', '.join(down)}.", faults)
    status = "ready" if health.broker else "degraded"
    return ReadyBody(status=status, postgres=True, storage=True, broker=health.broker)
