"""Clocks that disagree. Leases do not mind: Postgres's alone decides; but logs do, and so do S3's signatures."""

from collections.abc import Iterator
from datetime import datetime

from app.stack.doctor.findings import Finding, problem, warning

_LOW_SECONDS = 5.0
_S3_SECONDS = 15 * 60.0


def clock_findings(whose: str, theirs: datetime | None, ours: datetime) -> Iterator[Finding]:
    """What the difference of two clocks that were read at one moment means."""
    apart = 0.0 if theirs is None else abs((ours - theirs).total_seconds())
    what = f"this machine's clock and that of {whose} are {apart:.0f} s apart"
    if apart >= _S3_SECONDS:
        yield problem(f"{what}: S3 refuses what is signed", "Run a time service on both")
    elif apart > _LOW_SECONDS:
        yield warning(what, "Run a time service on both: logs are hard to compare, and at 15 minutes S3 refuses us")
