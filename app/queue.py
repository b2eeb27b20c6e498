"""Wake-ups: messages that carry nothing but the advice to look into Postgres.

Losing, doubling or reordering them changes nothing; the sweeper sends again what nobody acted on.
"""

import logging
import ssl
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.exceptions import OperationalError

from app.domain.jobs import JobKind
from app.metrics.backends import WAKEUPS

WAKE_TASK = "palimpsest.wake"

# Of one queue. A worker that wakes works until nothing is left, so that more would wake nobody else.
MOST_WAITING = 256

log = logging.getLogger(__name__)

# Left to themselves, kombu's transports encrypt and ask nobody who they are. A URL's own `ssl_...` options come first.
_CHECKS: dict[str, dict[str, ssl.VerifyMode]] = {
    "rediss": {"ssl_cert_reqs": ssl.CERT_REQUIRED},
    "amqps": {"cert_reqs": ssl.CERT_REQUIRED},
}


def make_celery(broker_url: str) -> Celery:
    """Celery as both ends use it: early acknowledgement, no results, one message at a time."""
    celery = Celery("palimpsest", broker=broker_url)
    celery.conf.update(
        task_ignore_result=True,
        # Who can write to the broker must not be able to run code here.
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_acks_late=False,
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 5, "socket_keepalive": True},
        task_create_missing_queues=True,
        worker_hijack_root_logger=False,
        # Nobody commands workers through the broker, and each start of one would leave a mailbox in it.
        worker_enable_remote_control=False,
    )
    if (checks := _CHECKS.get(urlsplit(broker_url).scheme)) is not None:
        celery.conf.broker_use_ssl = checks
    return celery


class WakeUps:
    """The sending end."""

    def __init__(self, broker_url: str) -> None:
        self._celery = make_celery(broker_url)
        # A worker waits for its broker. The API and the sweeper do not: the sweeper tries again.
        self._celery.conf.broker_transport_options |= {"max_retries": 1, "interval_start": 0}

    def send(self, kind: JobKind) -> bool:
        """Advise one worker of the queue of `kind` to look for work; False when the broker is down.

        Where enough advice waits already, no more is given: without a worker the queue would grow for ever.
        """
        queue = kind.queue.value
        try:
            if self._waiting(queue) >= MOST_WAITING:
                WAKEUPS.labels(queue, "full").inc()
                return True
            # Without an expiry: that would compare two machines' clocks. A wake-up for nothing costs one query.
            self._celery.send_task(WAKE_TASK, queue=queue, retry=False)
        except (OperationalError, OSError) as error:
            log.warning("no wake-up for %s: the broker is out of reach: %s", kind.value, error)
            WAKEUPS.labels(queue, "failed").inc()
            return False
        WAKEUPS.labels(queue, "sent").inc()
        return True

    def _waiting(self, queue: str) -> int:
        """How many messages wait, asked in a way that every broker answers: the queue is declared once again."""
        connections: Any = self._celery.pool  # celery-types takes it for a pool of producers.
        with connections.acquire(block=True) as connection:
            try:
                declared: Any = self._celery.amqp.queues[queue](connection.default_channel).queue_declare()
            except (*connection.connection_errors, *connection.channel_errors) as error:
                raise OperationalError(str(error)) from error
        return int(declared.message_count)

    def is_ready(self) -> bool:
        """Whether the broker answers."""
        try:
            with self._celery.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, timeout=2)
        except (OperationalError, OSError):
            return False
        return True
