"""What a worker counts where a real one has no such figures, or several in one."""

from collections.abc import Iterator
from itertools import pairwise

from PIL import Image
from prometheus_client import REGISTRY

from worker.generation.batches import Drawn
from worker.worker_metrics import note_evaluated, timed_pictures


def told(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"palimpsest_{name}", labels) or 0.0


def test_self_retention_is_told_by_strategy_where_it_is_known() -> None:
    note_evaluated("some-strategy", None)
    assert told("self_retention_count", strategy="some-strategy") == 0
    note_evaluated("some-strategy", 0.25)
    assert told("self_retention_bucket", strategy="some-strategy", le="0.25") == 1
    assert told("self_retention_bucket", strategy="some-strategy", le="0.1") == 0


def test_pictures_of_a_batch_share_its_time() -> None:
    picture = Image.new("RGB", (1, 1))
    drawn = [Drawn(picture, 3), Drawn(picture, 3), Drawn(picture, 3), Drawn(picture, 1)]

    def one_by_one() -> Iterator[Drawn]:
        yield from drawn

    timed = timed_pictures("some-base", one_by_one())
    sums = [0.0, *(told("picture_seconds_sum", base_model="some-base") for _ in timed)]
    assert told("picture_seconds_count", base_model="some-base") == len(drawn)
    shares = [after - before for before, after in pairwise(sums)]
    assert shares[0] > 0
    assert all(abs(share - shares[0]) < 1e-9 for share in shares[:3])
