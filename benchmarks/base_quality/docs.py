"""The table in a page of docs, between two comments, so that no figure there is copied by hand."""

from pathlib import Path

_BEGIN = "<!-- written by python -m benchmarks.base_quality -->"
_END = "<!-- end of what it wrote -->"


def update(page: Path, table: str) -> None:
    """Put the table where the last one is.

    Raises:
        ValueError: the page does not have the two comments, once each and in order.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end or _BEGIN in after or _END in after:
        raise ValueError(f"{page.name} wants {_BEGIN!r} and {_END!r}, once each")
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}", encoding="utf-8")
