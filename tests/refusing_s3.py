"""An S3 that refuses some things for good, in front of the real one."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from app.settings import Settings
from app.storage import ObjectStore

_TOO_LARGE = b"<Error><Code>EntityTooLarge</Code><Message>Your proposed upload is too large.</Message></Error>"
_KEPT = (
    "<DeleteResult><Error><Key>{key}</Key><Code>AccessDenied</Code><Message>Locked.</Message></Error></DeleteResult>"
)


class RefusingS3(ThreadingHTTPServer):
    """Refuses puts of one kind of object, and to delete one key; all else goes to the real one."""

    daemon_threads = True
    refused_kind: str | None = None
    kept_key: str | None = None

    def __init__(self, behind: Settings) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = behind
        self.store = ObjectStore(behind)

    def settings(self) -> Settings:
        """The settings of a process that talks to this one."""
        url = f"http://127.0.0.1:{self.server_port}"
        return self.behind.model_copy(update={"s3_endpoint_url": url})


@contextmanager
def refusing_s3(behind: Settings) -> Iterator[RefusingS3]:
    """Serve until the block ends."""
    server = RefusingS3(behind)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RefusingS3

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        refused, kept = self.server.refused_kind, self.server.kept_key
        if self.command == "PUT" and refused is not None and f"/{refused}/" in self.path:
            self._answer(400, _TOO_LARGE)
        elif self.command == "POST" and kept is not None and kept.encode() in body:
            self._delete_others(body, kept)
        else:
            self._forward(body)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - http.server's own names

    def _delete_others(self, body: bytes, kept: str) -> None:
        keys = [part.split("</Key>")[0] for part in body.decode().split("<Key>")[1:]]
        self.server.store.delete([key for key in keys if key != kept])
        self._answer(200, _KEPT.format(key=kept).encode())

    def _forward(self, body: bytes) -> None:
        address = urlsplit(self.server.behind.s3_endpoint_url or "")
        upstream = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        upstream.request(self.command, self.path, body, dict(self.headers.items()))
        answer = upstream.getresponse()
        self._answer(answer.status, answer.read(), dict(answer.getheaders()))
        upstream.close()

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {"Content-Type": "application/xml"}).items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        length = (headers or {}).get("Content-Length", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quietly."""
