"""All that the doctor looks at, in order."""

from collections.abc import Iterator, Mapping

from app.settings import Settings
from app.stack.addresses import resolve
from app.stack.doctor.bases import base_findings
from app.stack.doctor.broker import broker_findings
from app.stack.doctor.bucket import bucket_findings
from app.stack.doctor.database import database_findings
from app.stack.doctor.findings import Finding, problem
from app.stack.doctor.given_settings import address_findings
from app.stack.doctor.host import machine_findings
from app.stack.stack_errors import StackError


def examine(settings: Settings, variables: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with the installation that these settings, from these variables, describe."""
    yield from address_findings(settings, variables)
    yield from machine_findings(settings.home)
    try:
        resolved = resolve(settings)
    except StackError as error:
        yield problem("there is no stack to look at", error.detail)
        return
    assert resolved.database_url is not None
    assert resolved.broker_url is not None
    yield from database_findings(resolved.database_url)
    yield from broker_findings(resolved.broker_url)
    yield from bucket_findings(resolved)
    yield from base_findings(resolved.database_url)
