"""No answer costs much more than it is paid for: the rate counts what a request takes."""

import httpx
import pytest

from benchmarks.api_process import api_process
from tests.hostile.place import Place
from tests.hostile.rows import draw_many
from tests.integration.api.inputs import files, image, new_lineage

RATE, BURST = 1.0, 400


def cpu_of(api: Place, client: httpx.Client, path: str, count: int) -> float:
    """The processor seconds of one such request, once the first has been answered."""
    assert client.get(path).status_code == 200, path
    began = api.cpu_seconds()
    for _ in range(count):
        assert client.get(path).status_code == 200
    return (api.cpu_seconds() - began) / count


def asked_until_refused(url: str, key: str, path: str) -> int:
    """How many such requests a new user may send at once."""
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for count in range(2 * BURST):
            if client.get(path).status_code == 429:
                return count
    return 2 * BURST


@pytest.mark.parametrize("path", ["/v1/generations?limit=200", "/v1/concepts?limit=200", "/v1/jobs?limit=200"])
def test_a_full_page_is_paid_for(api: Place, client: httpx.Client, path: str) -> None:
    lineage = new_lineage(client)
    draw_many(api, lineage, 200, 16)
    for n in range(4):
        answer = client.post(
            "/v1/concepts", data={"name": f"c{n}", "kind": "style"}, files=files(*[image()] * 50), timeout=120
        )
        assert answer.status_code == 201, answer.text
    job = f"/v1/jobs/{client.get('/v1/jobs?limit=1').json()['items'][0]['id']}"
    poll, page = cpu_of(api, client, job, 100), cpu_of(api, client, path, 3)
    slow = api.settings.model_copy(update={"requests_per_second": RATE / 1000, "requests_burst": BURST})
    with api_process(slow) as (_, url):
        price = BURST / asked_until_refused(url, api.new_key(), path)
    # Per unit of price a page takes no more than a few polls do.
    assert page <= 4 * poll * price, (page, poll, price)
