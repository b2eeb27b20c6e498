"""The broker: whether it answers, is encrypted and locked, and has known holes."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import redis

from app.queue import WakeUps
from app.stack.addresses import without_secrets
from app.stack.doctor.findings import Finding, first_line, problem, warning
from app.stack.doctor.given_settings import is_near

# The releases of each series that mended CVE-2025-49844, by which a client runs code; series below are not mended.
_MENDED = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4, (9, 0): 0},
}


def broker_findings(broker_url: str) -> Iterator[Finding]:
    """What is wrong with the broker of that URL."""
    scheme = urlsplit(broker_url).scheme
    if not is_near(broker_url) and scheme in ("redis", "amqp"):
        yield warning(f"the way to the broker is unencrypted ({scheme}://)", f"Use {scheme}s:// in BROKER_URL")
    place = without_secrets(broker_url)
    if not WakeUps(broker_url).is_ready():
        yield problem(
            f"the broker at {place} cannot be used: jobs wait until the sweeper finds them",
            "Start it, or correct BROKER_URL",
        )
    elif scheme.startswith("redis"):
        yield from _redis(broker_url)


def _redis(url: str) -> Iterator[Finding]:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            info: Mapping[str, str] = client.info("server")
    except redis.RedisError as error:
        yield warning(f"the broker does not tell its version ({first_line(error)})", "Allow the command INFO")
        return
    if urlsplit(url).password is None:
        yield problem("the broker asks for no password", "Set one (requirepass), and put it into BROKER_URL")
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    if has_holes(name, version):
        yield problem(
            f"the broker is {name} {version}, which has known holes (CVE-2025-49844: a client can run code)",
            "Upgrade to Valkey 9.1 or a Redis that has mended it",
        )


def has_holes(name: str, version: str) -> bool:
    """Whether that release of Redis or Valkey lacks the repair."""
    major, minor, patch = (int(part) for part in version.split(".")[:3])
    mended = _MENDED[name]
    return (major, minor) < max(mended) and patch < mended.get((major, minor), patch + 1)
