"""Telemetry: spans and metrics by the conventions for databases, and nothing of anybody's session in them."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from satchel import ConflictError, CorruptValueError, MemoryStorage, Payload, UnsupportedValueError
from satchel.wrappers import Telemetry
from satchel_sqlite import SQLiteStorage


class Observed:
    """An SDK that keeps everything in memory."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])

    def around(self, storage: Any) -> Telemetry[Any]:
        return Telemetry(storage, tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self) -> list[Any]:
        data: Any = self.reader.get_metrics_data()
        [metric] = data.resource_metrics[0].scope_metrics[0].metrics
        assert (metric.name, metric.unit) == ("db.client.operation.duration", "s")
        return list(metric.data.data_points)


@pytest.fixture
def observed() -> Iterator[Observed]:
    observed = Observed()
    yield observed
    observed.tracers.shutdown()
    observed.meters.shutdown()


class Server(MemoryStorage[Any]):
    """Memory that calls itself a server."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where


@pytest.mark.parametrize(
    ("where", "name", "attributes"),
    [
        (
            "redis://localhost:6379/0",
            "read 0",
            {
                "db.system.name": "redis",
                "db.namespace": "0",
                "server.address": "localhost",
                "server.port": 6379,
            },
        ),
        (
            "rediss+cluster://[::1]:7000,b:7001",
            "read ::1",
            {"db.system.name": "redis", "server.address": "::1", "server.port": 7000},
        ),
        (
            "postgresql://db:5432/bot",
            "read bot",
            {"db.system.name": "postgresql", "db.namespace": "bot", "server.address": "db", "server.port": 5432},
        ),
        (
            "mongodb+srv://cluster/bot.sessions",
            "read sessions",
            {
                "db.system.name": "mongodb",
                "db.namespace": "bot",
                "db.collection.name": "sessions",
                "server.address": "cluster",
            },
        ),
        (
            "dynamodb:///table?region=eu-west-1",
            "read table",
            {"db.system.name": "aws.dynamodb", "db.collection.name": "table"},
        ),
        (
            "s3://bucket/bots",
            "read bots",
            {"db.system.name": "aws.s3", "db.namespace": "bucket", "db.collection.name": "bots"},
        ),
        ("memory://", "read memory", {"db.system.name": "memory"}),
    ],
)
async def test_a_call_is_a_client_span_by_the_conventions(
    observed: Observed, where: str, name: str, attributes: dict[str, Any]
) -> None:
    await observed.around(Server(where)).read("chat:1")
    [span] = observed.spans()
    assert span.name == name
    assert span.kind is SpanKind.CLIENT
    assert span.attributes == attributes | {"db.operation.name": "read"}
    assert span.status.status_code is StatusCode.UNSET
    scope = span.instrumentation_scope
    assert scope is not None
    assert scope.name == "satchel"
    [point] = observed.points()
    assert point.attributes == attributes | {"db.operation.name": "read"}


async def test_the_duration_is_in_seconds_in_the_buckets_that_are_advised(observed: Observed) -> None:
    storage = observed.around(MemoryStorage())
    for _ in range(3):
        await storage.read("chat:1")
    [point] = observed.points()
    assert point.count == 3
    assert 0 < point.sum < 5
    assert point.explicit_bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)


async def test_every_call_is_seen(observed: Observed, tmp_path: Path) -> None:
    async with observed.around(SQLiteStorage(tmp_path / "bot.db")) as storage:
        await storage.write("a", 1)
        version = await storage.write_versioned("b", 1, None)
        await storage.read_versioned("b")
        await storage.delete_versioned("b", version)
        await storage.write_many({"c": 1, "d": 1})
        await storage.read_many(key for key in "cde")
        await storage.delete_many(["c"])
        await storage.read_records(["c", "d"])
        await storage.touch("a")
        await storage.purge_expired()
        await storage.commit({})
        await storage.delete("a")
        assert [key async for key in storage.keys()] == ["d"]
    sizes = {span.name.split()[0]: (span.attributes or {}).get("db.operation.batch.size") for span in observed.spans()}
    assert sizes == {
        "setup": None, "write": None, "write_versioned": None, "read_versioned": None, "delete_versioned": None,
        "write_many": 2, "read_many": 3, "delete_many": None, "read_records": 2, "touch": None, "purge_expired": None,
        "commit": None, "delete": None, "keys": None,
    }  # fmt: skip
    assert {point.attributes["db.operation.name"] for point in observed.points()} == set(sizes)


class Garbled(MemoryStorage[Any]):
    async def get(self, name: str) -> Payload | None:
        return b'{"card": "hush'


async def test_an_error_is_told_by_its_class_and_nothing_of_a_session_is(observed: Observed) -> None:
    storage = observed.around(MemoryStorage())
    await storage.write("user:mallory", {"card": "hush"})
    with pytest.raises(ConflictError):
        await storage.write_versioned("user:mallory", {"card": "hush hush"}, None)
    with pytest.raises(UnsupportedValueError):
        await storage.write("user:mallory", {"card": {"hush"}})
    with pytest.raises(CorruptValueError):
        await observed.around(Garbled()).read("user:mallory")
    failed = [span for span in observed.spans() if span.status.status_code is StatusCode.ERROR]
    errors = [str((span.attributes or {})["error.type"]) for span in failed]
    assert errors == ["ConflictError", "UnsupportedValueError", "CorruptValueError"]
    assert {point.attributes.get("error.type") for point in observed.points()} == {None, *errors}
    told = "".join(span.to_json() for span in observed.spans()) + str(observed.points())
    for secret in ("mallory", "hush", "card"):
        assert secret not in told


async def test_spans_of_the_driver_are_inside_of_ours(observed: Observed) -> None:
    class Instrumented(MemoryStorage[Any]):
        async def get(self, name: str) -> Payload | None:
            with observed.tracers.get_tracer("driver").start_as_current_span("GET"):
                return await super().get(name)

    await observed.around(Instrumented()).read("chat:1")
    inner, outer = observed.spans()
    assert inner.name == "GET"
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id


async def test_a_listing_does_not_count_what_is_done_with_its_keys(observed: Observed) -> None:
    inside = MemoryStorage[Any]()
    await inside.write_many({"a": 1, "b": 1})
    keys: Any = observed.around(inside).keys()
    async with aclosing(keys):
        async for _ in keys:
            assert not trace.get_current_span().get_span_context().is_valid
            await asyncio.sleep(0.02)
            break
    [span], [point] = observed.spans(), observed.points()
    assert span.name == "keys memory"
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time is not None
    assert span.end_time is not None
    assert (span.end_time - span.start_time) / 1e9 - point.sum > 0.015


async def test_without_an_sdk_it_only_passes_on() -> None:
    storage = Telemetry(MemoryStorage())
    await storage.write("chat:1", 1)
    assert await storage.read("chat:1") == 1
