"""What a request costs against its user's rate, in polls: what takes the processor of fifty counts as fifty.

`tests/hostile/test_prices.py` holds the prices to what the requests take.
"""

from fastapi import Request
from fastapi.datastructures import QueryParams

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 200

# For each item of a page: what hangs on it is read as well.
_ITEM = 0.1
_ITEM_OF = {"/v1/concepts": 0.5, "/v1/generations": 0.3, "/v1/evaluations": 0.3}

_CHANGE = 2.0
_PRICE_OF = {
    ("GET", "/v1/me"): 3.0,
    ("GET", "/v1/lineages/{lineage_id}/versions/{number}/adapter"): 25.0,
    ("POST", "/v1/concepts"): 10.0,
    ("POST", "/v1/lineages/{lineage_id}/import"): 10.0,
}


def price_of(request: Request, path: str, *, is_page: bool) -> float:
    """The price of a request to the route of that path."""
    if is_page:
        return 1.0 + _limit(request.query_params) * _ITEM_OF.get(path, _ITEM)
    usual = 1.0 if request.method in ("GET", "HEAD") else _CHANGE
    return _PRICE_OF.get((request.method, path), usual)


def _limit(query: QueryParams) -> int:
    given = query.get("limit", "")
    return min(int(given), _MAX_LIMIT) if given.isdecimal() and len(given) < 9 else _DEFAULT_LIMIT
