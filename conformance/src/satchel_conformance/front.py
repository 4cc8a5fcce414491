"""An HTTP server before another one: it answers in its place, on cue, with what the real one says too seldom.

with Front("http://127.0.0.1:8000") as front:
    client = connect(front.url)
    front.answer(503, b"try again later", times=2)
    client.get("key")
    assert front.requests == 3
"""

import ssl
import threading
from collections import deque
from collections.abc import Callable, Collection
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit


class Request(NamedTuple):
    """A request as it came: method, path with query, headers with names in lower case, and body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Answer(NamedTuple):
    """What to answer with: the status, the body, and its content type."""

    status: int
    body: bytes
    kind: str = ""


class Front:
    """Listens on a free port of 127.0.0.1 while its `with` block lasts, and forwards what it has no answer to.

    Args:
        target: the URL of the server behind.
        drop: headers, in lower case, that do not reach it.
        tls: to be reached by `https://localhost`.

    Attributes:
        seen: every request that came.
    """

    def __init__(self, target: str, *, drop: Collection[str] = (), tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self._drop = frozenset(drop)
        self._tls = tls
        self._answers: deque[Callable[[Request], Answer | None]] = deque()
        self.seen: list[Request] = []

    def __enter__(self) -> Self:
        """Start to listen."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}" if self._tls is None else f"https://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="satchel-front")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop to listen."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def requests(self) -> int:
        """How many requests came."""
        return len(self.seen)

    def answer(self, status: int, body: bytes, *, times: int = 1) -> None:
        """Answer so many of the next requests like this."""
        self._answers.extend([lambda _: Answer(status, body)] * times)

    def answer_by(self, make: Callable[[Request], Answer | None]) -> None:
        """Answer the next request with what `make` makes of it; with None it is forwarded."""
        self._answers.append(make)

    def heal(self) -> None:
        """Forward everything again."""
        self._answers.clear()

    def _respond(self, request: Request) -> tuple[int, list[tuple[str, str]], bytes]:
        self.seen.append(request)
        made = self._answers.popleft()(request) if self._answers else None
        if made is not None:
            return made.status, [("Content-Type", made.kind)] if made.kind else [], made.body
        connection = HTTPConnection(*self._target, timeout=30)
        try:
            headers = {name: value for name, value in request.headers.items() if name not in self._drop}
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        respond = self._respond

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True  # the client has gone

            def do(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(int(headers.get("content-length", 0)))
                status, answered, content = respond(Request(self.command, self.path, headers, body))
                self.send_response_only(status)
                for name, value in answered:
                    if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                        self.send_header(name, value)
                length = next((value for name, value in answered if name.lower() == "content-length"), len(content))
                if status != 204:
                    self.send_header("Content-Length", str(length if self.command == "HEAD" else len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any, **__: Any) -> None:
                """Print nothing."""

        for method in ("DELETE", "GET", "HEAD", "POST", "PUT"):
            setattr(Handler, f"do_{method}", Handler.do)
        return Handler
