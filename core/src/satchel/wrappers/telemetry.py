"""Spans and metrics of a storage's calls, by OpenTelemetry's conventions for databases."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from satchel.errors import ConfigurationError
from satchel.storage import StorageAdapter, V
from satchel.wrappers.base import Wrapper, closing

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

T = TypeVar("T")

# "Semantic conventions for database calls and systems", which are stable since 1.33.
_SCHEMA: Final = "https://opentelemetry.io/schemas/1.33.0"
_BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)  # seconds, as advised for db.client.operation.duration
_SYSTEMS: Final[Mapping[str, str]] = {  # well-known values of db.system.name, where they are not the URL's scheme
    "rediss": "redis",
    "postgres": "postgresql",
    "dynamodb": "aws.dynamodb",
    "s3": "aws.s3",
    "firestore": "gcp.firestore",
    "supabase": "postgresql",
}
_BATCHES: Final = frozenset({"read_many", "write_many", "delete_many", "read_records", "commit", "write_records"})


class Telemetry(Wrapper[V]):
    """Makes a span of each call (`read bot.db`), and an entry in the histogram `db.client.operation.duration`.

        storage = Telemetry(open_storage("redis://localhost"))

    Attributes are `db.system.name`, `db.operation.name` (the method), `db.namespace`, `server.address` and
    `server.port` from the storage's URL, `db.operation.batch.size`, and of a call that raised `error.type`, the error's
    class; a conflict is one. Neither keys nor values are among them, nor messages of errors, which name keys. Spans of
    the driver's own instrumentation are inside. Without an SDK nothing is recorded, and it costs next to nothing.

    Args:
        storage: the storage inside.
        tracer_provider: who makes spans; the global one by default.
        meter_provider: who makes metrics; the global one by default.

    Raises:
        ConfigurationError: opentelemetry-api is missing: pip install "satchel[telemetry]".
    """

    def __init__(
        self,
        storage: StorageAdapter[V],
        /,
        *,
        tracer_provider: "TracerProvider | None" = None,
        meter_provider: "MeterProvider | None" = None,
    ) -> None:
        super().__init__(storage)
        try:
            from opentelemetry import metrics, trace
        except ImportError as error:
            raise ConfigurationError('Telemetry needs opentelemetry-api: pip install "satchel[telemetry]"') from error
        self._trace = trace
        self._tracer = trace.get_tracer("satchel", None, tracer_provider, _SCHEMA)
        self._duration = metrics.get_meter("satchel", "", meter_provider, _SCHEMA).create_histogram(
            "db.client.operation.duration",
            "s",
            "Duration of database client operations.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        self._known = _attributes(getattr(storage, "where", ""), type(storage).__name__)
        targets = ("db.collection.name", "db.namespace", "server.address", "db.system.name")
        self._target = next(self._known[name] for name in targets if name in self._known)

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        # The span is not the current one: between two keys, whoever asks for them does other things.
        with self._measuring("keys", {}) as measured:
            async with closing(self.inner.keys(prefix)) as keys:
                while True:
                    start = time.perf_counter()
                    try:
                        key = await anext(keys, None)
                    finally:
                        measured.seconds += time.perf_counter() - start
                    if key is None:
                        return
                    yield key

    async def _pass(self, operation: str, call: Callable[..., Awaitable[T]], *arguments: Any) -> T:
        size = len(arguments[0]) if operation in _BATCHES else 1
        with self._measuring(operation, {"db.operation.batch.size": size} if size > 1 else {}) as measured:
            start = time.perf_counter()
            try:
                with self._trace.use_span(measured.span, record_exception=False, set_status_on_exception=False):
                    return await super()._pass(operation, call, *arguments)
            finally:
                measured.seconds = time.perf_counter() - start

    @contextmanager
    def _measuring(self, operation: str, more: dict[str, str | int]) -> "Iterator[_Measured]":
        """Make the span and the entry of one call."""
        known: dict[str, str | int] = self._known | {"db.operation.name": operation}
        kind = self._trace.SpanKind.CLIENT
        measured = _Measured(self._tracer.start_span(f"{operation} {self._target}", kind=kind, attributes=known | more))
        try:
            yield measured
        except GeneratorExit:  # whoever listed keys has seen enough
            raise
        except BaseException as error:
            known["error.type"] = type(error).__qualname__
            measured.span.set_attribute("error.type", type(error).__qualname__)
            measured.span.set_status(self._trace.StatusCode.ERROR)
            raise
        finally:
            measured.span.end()
            self._duration.record(measured.seconds, known)


class _Measured:
    """A call that is measured."""

    def __init__(self, span: "Span") -> None:
        self.span = span
        self.seconds = 0.0


def _attributes(where: str, otherwise: str) -> dict[str, str | int]:
    """Return what the URL of a storage tells of its backend; without one, the system is called `otherwise`."""
    parts = urlsplit(where)
    scheme = parts.scheme.partition("+")[0]
    path = parts.path.removeprefix("/")
    server = urlsplit("//" + parts.netloc.rpartition("@")[2].partition(",")[0])  # the first of several
    namespace, collection, address, port = path, "", server.hostname, server.port
    match scheme:
        case "mongodb":
            namespace, _, collection = path.partition(".")
        case "dynamodb":
            namespace, collection = "", path
        case "s3" | "firestore":  # a bucket, or a project
            namespace, collection, address, port = parts.netloc, path, None, None
    found: dict[str, str | int | None] = {
        "db.system.name": _SYSTEMS.get(scheme, scheme or otherwise),
        "db.namespace": namespace,
        "db.collection.name": collection,
        "server.address": address,
        "server.port": port,
    }
    return {name: value for name, value in found.items() if value}
