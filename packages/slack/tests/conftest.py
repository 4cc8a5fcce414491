"""A stand-in for Slack's Web API on the loopback interface, and requests as Slack signs them."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from slack_sdk.signature import SignatureVerifier

SECRET = "signing secret"


class WebAPI:
    """Answers what Bolt asks of Slack, and notes what apps say.

    Attributes:
        said: the texts of `chat.postMessage`, in order.
        tokens: the token that came with each of them.
    """

    def __init__(self) -> None:
        self.said: list[str] = []
        self.tokens: list[str] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                is_json = "json" in self.headers.get("Content-Type", "")
                fields = json.loads(body or "{}") if is_json else {k: v[0] for k, v in parse_qs(body).items()}
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                answer = json.dumps({"ok": True, **api.answer(self.path, fields, token)}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, path: str, fields: dict[str, Any], token: str) -> dict[str, Any]:
        if path == "/chat.postMessage":
            self.said.append(fields["text"])
            self.tokens.append(token)
        if path == "/oauth.v2.access":
            user = {"id": "U" + fields["code"], "access_token": "xoxp-" + fields["code"], "scope": "search:read"}
            return {
                "app_id": "A1", "access_token": "xoxb-" + fields["code"], "scope": "chat:write,commands",
                "bot_user_id": "UB", "team": {"id": "T1", "name": "Team"}, "enterprise": None, "authed_user": user,
                "token_type": "bot",
            }  # fmt: skip
        if token.startswith("xoxp-"):  # auth.test, as below
            return {"user_id": "U" + token.removeprefix("xoxp-"), "team_id": "T1", "url": "https://team.example/"}
        return {"user_id": "UB", "bot_id": "B1", "team_id": "T1", "url": "https://team.example/"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def web_api() -> Iterator[WebAPI]:
    api = WebAPI()
    yield api
    api.close()


@pytest.fixture
def signed() -> Callable[..., dict[str, Any]]:
    """Make the arguments of a request: a message in a channel, as the Events API sends it, with a signature."""

    def make(text: str, *, channel: str | None = "C1", user: str = "U1", team: str = "T1") -> dict[str, Any]:
        event = {"type": "message", "text": text, "user": user, "ts": "1.1", "event_ts": "1.1"}
        event |= {} if channel is None else {"channel": channel}
        body = json.dumps({"type": "event_callback", "team_id": team, "api_app_id": "A1", "event": event})
        now = str(int(time.time()))
        signature = SignatureVerifier(SECRET).generate_signature(timestamp=now, body=body)
        return {
            "body": body,
            "headers": {
                "content-type": ["application/json"],
                "x-slack-request-timestamp": [now],
                "x-slack-signature": [str(signature)],
            },
        }

    return make


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "redis":
        found: str = request.getfixturevalue("redis_url")
        return found
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path_factory.mktemp('slack')}/bot.db"


@pytest.fixture
def namespace() -> str:
    return uuid4().hex
