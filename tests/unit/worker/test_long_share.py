"""Long jobs take at most half of a worker's time while short ones wait."""

from hypothesis import given
from hypothesis import strategies as st

from app.domain.jobs import LONG_KINDS, JobKind
from worker.long_share import LongShare

SECONDS = st.integers(1, 10_000)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=40))
def test_where_both_always_wait_long_jobs_take_half_and_neither_waits_for_ever(jobs: list[tuple[int, int]]) -> None:
    """Each pair: how long the next long job takes, and each short one after it."""
    now = 0
    share = LongShare(lambda: now)
    spent = {True: 0, False: 0}
    for long_seconds, short_seconds in jobs:
        assert not share.prefers_short()
        with share.ran(LONG_KINDS[0]):
            now += long_seconds
        spent[True] += long_seconds
        while share.prefers_short():
            with share.ran(JobKind.GENERATE):
                now += short_seconds
            spent[False] += short_seconds
        # The last short one may begin just before the end of its time.
        assert spent[True] <= spent[False]
        assert now <= 2 * spent[True] + sum(short for _, short in jobs)
