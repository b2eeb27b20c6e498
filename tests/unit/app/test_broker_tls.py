"""A broker over TLS is asked who it is, unless its URL says otherwise. The server is one of Python's own."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.queue import make_celery

TLS = Path(__file__).parents[2] / "tls"
CERTIFICATE = TLS / "cert.pem"


@dataclass
class Server:
    """A TLS server that talks no protocol: whether each client went through with the handshake."""

    port: int
    trusted: list[bool] = field(default_factory=list)
    heard: threading.Event = field(default_factory=threading.Event)


@contextmanager
def tls_server() -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, TLS / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.settimeout(20)
                    try:
                        with context.wrap_socket(client, server_side=True) as wrapped:
                            server.trusted.append(bool(wrapped.recv(1)))
                    except OSError:
                        server.trusted.append(False)
                    server.heard.set()

        threading.Thread(target=serve, daemon=True).start()
        yield server
        # Wakes the accept that waits.
        listener.shutdown(socket.SHUT_RDWR)


def says_hello(scheme: str, host: str, more: str = "") -> bool:
    """Whether a client of ours says anything at all to a server of that certificate."""
    with tls_server() as server:
        celery = make_celery(f"{scheme}://{host}:{server.port}/{'0' if scheme == 'rediss' else ''}{more}")
        with contextlib.suppress(Exception), celery.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5, interval_start=0, interval_step=0)
            connection.SimpleQueue("x").close()
        assert server.heard.wait(30)
        return server.trusted[0]


@pytest.mark.parametrize("scheme", ["rediss", "amqps"])
def test_a_broker_whose_certificate_nobody_signed_is_not_talked_to(scheme: str) -> None:
    assert not says_hello(scheme, "localhost")


def test_a_broker_may_have_an_authority_of_its_own() -> None:
    assert says_hello("rediss", "localhost", f"?ssl_ca_certs={CERTIFICATE}")


def test_its_certificate_must_be_of_its_name() -> None:
    assert not says_hello("rediss", "127.0.0.1", f"?ssl_ca_certs={CERTIFICATE}")


def test_who_wants_no_check_has_to_say_so() -> None:
    assert says_hello("rediss", "localhost", "?ssl_cert_reqs=none&ssl_check_hostname=false")
