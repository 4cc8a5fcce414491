"""What the tests look at the emulator with, and what stands between it and a storage: TLS, tokens, rules."""

import asyncio
import base64
import gc
import json
import logging
import secrets
import ssl
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.cloud.firestore import AsyncClient, AsyncCollectionReference

from satchel_conformance.proxy import address_in

AUTHORITY = trustme.CA()
PROJECT = "satchel-test"


@pytest.fixture(scope="session", autouse=True)
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """gRPC reads the authorities that it trusts once for all, when it first makes a channel with TLS."""
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", str(file))
        yield


@pytest.fixture
def namespace() -> str:
    """A part of the collection for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def collection() -> str:
    """A collection for one test: for a listing, the emulator looks at every document of a collection."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def url(firestore_url: str, collection: str) -> str:
    """The emulator, with that collection."""
    return firestore_url.replace("/sessions?", f"/{collection}?")


@pytest.fixture
def emulator(firestore_url: str) -> str:
    """The emulator's host:port."""
    host, port = address_in(firestore_url)
    return f"{host}:{port}"


@pytest.fixture
async def raw(emulator: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    """A client of the driver's own."""
    with monkeypatch.context() as patch:
        patch.setenv("FIRESTORE_EMULATOR_HOST", emulator)
        client = AsyncClient(project=PROJECT)
    yield client
    await client._firestore_api.transport.close()


@pytest.fixture
def sessions(raw: AsyncClient, collection: str) -> AsyncCollectionReference:
    """The collection, to look behind the storage's back."""
    return raw.collection(collection)


class Front:
    """Stands before a server, with TLS or without.

    Attributes:
        address: its `host:port`.
        connections: how many are open.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.address = ""
        self.connections = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            with suppress(OSError):
                to_reader, to_writer = await asyncio.open_connection(*self._target)
                await asyncio.gather(pump(reader, to_writer), pump(to_reader, writer))
        finally:
            self.connections -= 1

    async def all_have_left(self) -> None:
        """Wait until no connection is open; that it was closed is noticed in its own time."""
        async with asyncio.timeout(10):
            while self.connections:
                gc.collect()  # what gRPC raised has hold of its call, and that of its connection
                await asyncio.sleep(0.01)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@asynccontextmanager
async def in_front(url: str, authority: trustme.CA | None = None, name: str = "localhost") -> AsyncIterator[Front]:
    """Give a front of the emulator, with a certificate for a name if there is an authority."""
    tls = None
    if authority is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(tls)
        tls.set_alpn_protocols(["h2"])
    front = Front(address_in(url))
    server = await asyncio.start_server(front.serve, "127.0.0.1", 0, ssl=tls)
    front.address = f"localhost:{server.sockets[0].getsockname()[1]}"
    try:
        yield front
    finally:
        server.close()
        await front.all_have_left()


@pytest.fixture
async def front(firestore_url: str) -> AsyncIterator[Front]:
    """Firestore behind TLS, with a certificate of an authority that is trusted."""
    async with in_front(firestore_url, AUTHORITY) as front:
        yield front


class Tokens:
    """Whoever gives tokens for credentials, or refuses to."""

    def __init__(self) -> None:
        # What the emulator takes for its owner, to whom no rules apply.
        self.answer: dict[str, Any] = {"access_token": "owner", "expires_in": 3600, "token_type": "Bearer"}
        self.asked = 0
        self.hangs_up = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if self.hangs_up:
                raise ConnectionAbortedError
            body = json.dumps(self.answer).encode()
            status = b"400 Bad Request" if "error" in self.answer else b"200 OK"
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            writer.write(head % (status, len(body)) + body)
            await writer.drain()
        writer.close()


@pytest.fixture
async def tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tokens]:
    """The environment of a bot that runs as a service account."""
    async with AsyncExitStack() as stack:
        tokens = Tokens()
        server = await stack.enter_async_context(await asyncio.start_server(tokens.serve, "127.0.0.1", 0))
        port = server.sockets[0].getsockname()[1]
        (tmp_path / "account.json").write_text(service_account(f"http://127.0.0.1:{port}/token"))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
        monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
        # They log what is raised, and pytest would keep that, and with it the call and its connection.
        for name in ("grpc._plugin_wrapping", "satchel"):
            monkeypatch.setattr(logging.getLogger(name), "disabled", True)
        yield tokens


def service_account(token_uri: str) -> str:
    """Return the file of a service account, with a key that nobody knows."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": f"bot@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    return json.dumps(account)


def token_of_a_user(project: str) -> str:
    """Return what the emulator takes for somebody to whom rules apply."""
    parts: list[dict[str, Any]] = [{"alg": "none"}, {"aud": project, "sub": "bot", "user_id": "bot"}]
    return ".".join([base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts] + [""])


@pytest.fixture
def forbidden(emulator: str) -> str:
    """A project whose rules forbid everything to everybody but the emulator's owner."""
    project = f"forbidden-{secrets.token_hex(6)}"
    content = "service cloud.firestore { match /{all=**} { allow read, write: if false; } }"
    request = urllib.request.Request(
        f"http://{emulator}/emulator/v1/projects/{project}:securityRules",
        json.dumps({"rules": {"files": [{"name": "rules", "content": content}]}}).encode(),
        {"Content-Type": "application/json"},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10):
        return project
