"""A backend that other processes and a proxy can reach: a small server over TCP, and a storage that talks to it.

A request and an answer are one line of JSON each. What a storage gets wrong is chosen by its URL: `wire://host:port?bug=…`
opens the subclass of that name.
"""

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from conformance.tests.planted.correct import CAPABILITIES
from satchel import (
    ANY,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageUnavailableError,
    StorageURL,
)

_ANY = "any"  # how ANY is said on the wire


class Server:
    """The records, and what may be asked of them."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, float | None]] = {}

    def get(self, name: str) -> str | None:
        row = self.rows.get(name)
        return None if row is None or (row[1] is not None and row[1] <= time.monotonic()) else row[0]

    def put(self, name: str, payload: str, expected: str | None, ttl_ms: int | None) -> bool:
        if expected not in (_ANY, self.get(name)):
            return False
        self.rows[name] = (payload, None if ttl_ms is None else time.monotonic() + ttl_ms / 1000)
        return True

    def drop(self, name: str, expected: str | None) -> bool:
        if expected not in (_ANY, self.get(name)):
            return False
        self.rows.pop(name, None)
        return True

    def renew(self, name: str, ttl_ms: int | None) -> bool:
        payload = self.get(name)
        return payload is not None and self.put(name, payload, _ANY, ttl_ms)

    def names(self, prefix: str) -> list[str]:
        return [name for name in self.rows if name.startswith(prefix) and self.get(name) is not None]

    def many(self, requests: list[list[Any]]) -> list[Any]:
        return [self.answer(request) for request in requests]

    def commit(self, changes: dict[str, list[str | None]], ttl_ms: int | None) -> bool:
        if any(expected != self.get(name) for name, (_, expected) in changes.items()):
            return False
        for name, (payload, expected) in changes.items():
            self.drop(name, expected) if payload is None else self.put(name, payload, expected, ttl_ms)
        return True

    def answer(self, request: list[Any]) -> Any:
        method, *arguments = request
        return getattr(self, method)(*arguments)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.CancelledError):
            while line := await reader.readline():
                writer.write(json.dumps(self.answer(json.loads(line))).encode() + b"\n")
                await writer.drain()
        writer.close()


@contextmanager
def running() -> Iterator[str]:
    """Run a server in a thread of its own, and give its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="wire")
    thread.start()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(Server().serve, "127.0.0.1", 0, limit=2**24)

    async def stop() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield f"wire://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def installed() -> Iterator[None]:
    """Register the scheme wire:// as an installed distribution does, here and in the processes that are started."""
    with TemporaryDirectory() as folder:
        metadata = Path(folder, "satchel_planted-0.dist-info")
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: satchel-planted\nVersion: 0\n")
        (metadata / "entry_points.txt").write_text("[satchel.storages]\nwire = conformance.tests.planted.wire:Wire\n")
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, str(Path(__file__).parents[3])])
        sys.path.insert(0, folder)
        try:
            yield
        finally:
            sys.path.remove(folder)
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before


class Wire(EncodedStorage[Any]):
    """One connection, one request at a time; a connection on which anything went wrong is not used again."""

    capabilities = CAPABILITIES
    loop_bound = True
    url = ""

    def __init__(self, host: str, port: int, **options: Any) -> None:
        super().__init__(where=f"wire://{host}:{port}", **options)
        self.host, self.port = host, port
        self.turn = asyncio.Lock()
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        from conformance.tests.planted import network

        parsed = StorageURL(url)
        kind = getattr(network, parsed.take("bug", str) or "", cls)
        storage: Self = kind(parsed.host, parsed.port or 0, **parsed.options(options))
        storage.url = url
        return storage

    async def open(self) -> None:
        await self.ask("get", "")

    async def close(self) -> None:
        await self.hang_up()

    async def get(self, name: str) -> Payload | None:
        return _bytes(await self.ask("get", name))

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        written = await self.ask("put", name, payload.decode(), _said(expected), self.ttl_ms)
        return payload.decode() if written else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        return bool(await self.ask("drop", name, _said(expected)))

    async def renew(self, name: str) -> bool:
        return bool(await self.ask("renew", name, self.ttl_ms))

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        yield await self.ask("names", prefix)

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        found = await self.ask("many", [["get", name] for name in names])
        return {name: payload.encode() for name, payload in zip(names, found, strict=True) if payload is not None}

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        rows = [["put", name, payload.decode(), _ANY, self.ttl_ms] for name, payload in payloads.items()]
        await self.ask("many", rows)

    async def drop_many(self, names: Sequence[str]) -> None:
        await self.ask("many", [["drop", name, _ANY] for name in names])

    async def put_records(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str] | None:
        said = {name: [None if put is None else put.decode(), expected] for name, (put, expected) in changes.items()}
        if not await self.ask("commit", said, self.ttl_ms):
            return None
        return {name: put.decode() for name, (put, _) in changes.items() if put is not None}

    async def put_each(self, changes: Mapping[str, tuple[Payload | None, str | None]]) -> dict[str, str]:
        requests = [
            ["drop", name, expected] if put is None else ["put", name, put.decode(), expected, self.ttl_ms]
            for name, (put, expected) in changes.items()
        ]
        done = zip(changes.items(), await self.ask("many", requests), strict=True)
        return {name: "" if put is None else put.decode() for (name, (put, _)), is_done in done if is_done}

    def version_of(self, payload: Payload) -> str:
        return payload.decode()  # the whole record: what the server can compare

    def translate(self, error: Exception) -> StorageError | None:
        broken = isinstance(error, OSError | EOFError | ValueError)
        return StorageUnavailableError(f"{self.where} cannot be reached") if broken else None

    async def ask(self, *request: Any) -> Any:
        """Send a request and return the answer."""
        async with self.turn:
            try:
                if self.streams is None:
                    self.streams = await asyncio.open_connection(self.host, self.port, limit=2**24)
                reader, writer = self.streams
                writer.write(json.dumps(request).encode() + b"\n")
                await writer.drain()
                return json.loads(await self.line(reader))
            except BaseException:
                await self.hang_up()
                raise

    async def line(self, reader: asyncio.StreamReader) -> bytes:
        return await reader.readuntil(b"\n")

    async def hang_up(self) -> None:
        if self.streams is not None:
            self.streams[1].transport.abort()
            self.streams = None


def _said(expected: Expected) -> str | None:
    return _ANY if expected is ANY else expected


def _bytes(payload: str | None) -> Payload | None:
    return None if payload is None else payload.encode()
