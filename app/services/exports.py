"""Exports: a version's adapter as a file, folded by a child process (`app.adapter_files.child`)."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from anyio import to_thread
from pydantic import ValidationError

from app.adapter_files.child import Order, OrderedLink, Outcome, too_large
from app.services.context import Services
from app.services.versions import ExportPlan

# One thread: what more would win is not worth what their stacks count against the limit of memory.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@asynccontextmanager
async def exported(services: Services, user_id: UUID, plan: ExportPlan) -> AsyncIterator[Path]:
    """The whole version as one safetensors file: everything learned up to it, not its last task alone.

    Raises:
        InvalidInputError: the version's update is no product of factors, and no rank was asked for.
        StorageError: S3 failed.
        TooLargeError: it takes more memory or time than an export may.
    """
    with tempfile.TemporaryDirectory(prefix="export-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        async with services.gates.exports.turn(user_id):
            links = [await _fetched(services, folder / str(n), n, plan) for n in range(len(plan.links))]
            outcome = await _carried_out(services, _order(services, plan, tuple(links), folder / "export"))
        outcome.insist_on_success()
        yield folder / "export"


async def _fetched(services: Services, path: Path, number: int, plan: ExportPlan) -> OrderedLink:
    strategy, row = plan.links[number]
    with path.open("wb") as file:
        await to_thread.run_sync(services.store.fetch, row, file)
    return OrderedLink(strategy=strategy, path=path)


def _order(services: Services, plan: ExportPlan, links: tuple[OrderedLink, ...], target: Path) -> Order:
    return Order(
        links=links,
        export=plan.export,
        target=target,
        memory_bytes=services.settings.export_memory_bytes,
        parent=os.getpid(),
    )


async def _carried_out(services: Services, order: Order) -> Outcome:
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.adapter_files.child"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT},
    )
    seconds = services.settings.export_seconds
    try:
        async with asyncio.timeout(seconds):
            told, _ = await child.communicate(order.model_dump_json().encode())
        return Outcome.model_validate_json(told)
    except TimeoutError:
        return too_large(f"it takes longer than {seconds:g} s")
    except ValidationError:
        # It was killed, or its libraries ended it, which some do when there is no memory.
        return too_large(f"it ended with {child.returncode}, as for want of memory")
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
