"""Equal POSTs with one `Idempotency-Key`, many at one moment: one of them acts."""

import asyncio
from collections import Counter
from uuid import uuid4

import httpx

_STILL_RUNNING = "A request with this Idempotency-Key is still running."


async def post_equals(url: str, key: str, path: str, body: dict[str, object], count: int) -> list[httpx.Response]:
    """The answers to that many, 64 at a time: more would wait for Postgres until the API gives up on it, with 503."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": str(uuid4())}
    # No connection is used twice: the server closes an idle one after seconds, which a busy client notices too late.
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=0)
    # The last wait for the first to give back their connections: as long as that takes.
    timeout = httpx.Timeout(300, pool=None)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=timeout) as client:
        return await asyncio.gather(*(client.post(path, json=body) for _ in range(count)))


def assert_one_acted(answers: list[httpx.Response]) -> Counter[int]:
    """Every answer is the first one's, byte by byte, or tells that it is still running; how many are which."""
    accepted = {(answer.content, answer.headers["Location"]) for answer in answers if answer.status_code == 202}
    assert len(accepted) == 1, Counter(answer.status_code for answer in answers)
    for answer in answers:
        if answer.status_code != 202:
            assert answer.status_code == 409, answer.text
            assert answer.json()["detail"] == _STILL_RUNNING
    return Counter(answer.status_code for answer in answers)
