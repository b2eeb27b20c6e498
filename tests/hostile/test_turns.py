"""Users take turns: who asks for much waits for themselves."""

import asyncio
from collections import Counter
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.errors import TooManyAtOnceError
from app.services.turns import Turns

GREEDY, OTHER = uuid4(), uuid4()


async def run(turns: Turns, users: list[UUID]) -> list[UUID]:
    """In which order those users were let in, who all ask at once and each stay for a moment."""
    order: list[UUID] = []

    async def one(user: UUID) -> None:
        async with turns.turn(user):
            order.append(user)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(user) for user in users))
    return order


def test_a_newcomer_waits_for_one_of_the_greedy_at_most() -> None:
    order = asyncio.run(run(Turns(1, each=1), [GREEDY] * 100 + [OTHER]))
    assert order.index(OTHER) <= 2


@given(st.integers(1, 4), st.integers(1, 3), st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_never_too_many_and_nobody_is_forgotten(at_once: int, each: int, asked: list[int]) -> None:
    users = [uuid4() for _ in range(4)]
    inside: Counter[UUID] = Counter()

    async def one(turns: Turns, user: UUID, gives_up: bool) -> None:
        try:
            async with asyncio.timeout(0 if gives_up else None), turns.turn(user):
                inside[user] += 1
                assert inside[user] <= each
                assert inside.total() <= at_once
                try:
                    await asyncio.sleep(0)
                finally:
                    inside[user] -= 1
        except TimeoutError:
            assert gives_up

    async def all_of_them() -> None:
        turns = Turns(at_once, each)
        await asyncio.gather(*(one(turns, users[n], i % 5 == 4) for i, n in enumerate(asked)))
        # All are out again: as many as may be are let in at once.
        await asyncio.gather(*(one(turns, user, False) for user in users))

    asyncio.run(asyncio.wait_for(all_of_them(), 30))


def test_too_many_who_wait_are_refused() -> None:
    async def wait() -> None:
        turns = Turns(1, each=1, waiting_each=2)
        async with turns.turn(GREEDY):
            waiting = [asyncio.create_task(run(turns, [GREEDY])) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(TooManyAtOnceError):
                await run(turns, [GREEDY])
            assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)

    asyncio.run(wait())
