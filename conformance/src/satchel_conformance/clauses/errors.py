"""R12 and R16: errors are of one tree and keep secrets, and nothing is printed."""

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from math import nan
from typing import Any, Final

from satchel import ConflictError, CorruptValueError, SatchelError, StorageError
from satchel.codecs import JSONCodec
from satchel_conformance.bench import Bench
from satchel_conformance.checks import NotApplicable, expect, expect_error, outcome
from satchel_conformance.proxy import Fault, Refuse
from satchel_conformance.registry import clause

_SECRET: Final = "s3cret-4711"
_TIMEOUT: Final = timedelta(milliseconds=400)


def _said(error: BaseException) -> str:
    """Return all that a log would show of an error of ours."""
    return " ".join([str(error), repr(error), *getattr(error, "__notes__", [])])


@clause("R12-tells-no-value")
async def tells_no_value(bench: Bench) -> None:
    """No message, and no log, holds a part of a stored value, or of one that was refused."""
    storage = bench.storage
    bad = ({"a": _SECRET, "b": nan}, {"a": _SECRET, "b": {_SECRET}}, [_SECRET + "\ud800"], {"a": _SECRET, 1: 1})
    with _logged() as log:
        errors: list[object] = [await outcome(storage.write("key", value), StorageError) for value in bad]
        await storage.write("key", {"a": _SECRET})
        await storage.read("key")
        if bench.capabilities.versioned:
            errors.append(await outcome(storage.write_versioned("key", {"b": _SECRET}, "wrong"), StorageError))
    for error in errors:
        if isinstance(error, StorageError):  # whether it has to be one is for other clauses to say
            said = _said(error)
            expect(_SECRET not in said, f"the {type(error).__name__} does not tell the value", said)
    expect(_SECRET not in "\n".join(log), "the log does not tell the value", "it does")


@clause("R12-tells-no-password", "network", opened=False)
async def tells_no_password(bench: Bench) -> None:
    """Neither errors nor the log nor the storage's repr hold the password of the URL, be it wrong or nobody there."""
    for fault in (None, Refuse()):
        with _logged() as log:
            said = await _said_with_password(bench, fault)
        how = "when it is wrong" if fault is None else "when connections are refused"
        expect(_SECRET not in said, f"no error and no repr tells the password {how}", "one does")
        expect(_SECRET not in "\n".join(log), f"the log does not tell the password {how}", "it does")


async def _said_with_password(bench: Bench, fault: Fault | None) -> str:
    """Return all that is said to one who opens the URL with a password, which may not even have a place for one."""
    said: list[object] = []
    try:
        proxy, storage = await bench.behind_proxy(opened=False, password=_SECRET, timeout=_TIMEOUT)
        if fault is not None:
            proxy.arm(fault)
        said += [storage, str(storage)]
        calls = (storage.setup(), storage.write("key", 1), storage.read("key"))
        said += await asyncio.gather(*calls, return_exceptions=True)
    except SatchelError as error:
        said.append(error)
    return " ".join(_said(one) if isinstance(one, BaseException) else repr(one) for one in said)


@contextmanager
def _logged() -> Iterator[list[str]]:
    """Collect what is logged: by Satchel all of it, by others what is not meant for who debugs them."""
    log: list[str] = []

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.INFO or record.name.partition(".")[0] == "satchel":
                log.append(logging.Formatter().format(record))

    handler, ours = Collecting(), logging.getLogger("satchel")
    before = ours.level
    logging.getLogger().addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        ours.setLevel(before)
        logging.getLogger().removeHandler(handler)


class _Truncating(JSONCodec):
    def encode(self, value: object) -> bytes:
        return super().encode(value)[:-1]


@clause("R12-corrupt-tells-no-value")
async def corrupt_tells_no_value(bench: Bench) -> None:
    """CorruptValueError names the key, not the value that it found."""
    storage = await bench.another(codec=_Truncating())
    await storage.write("broken", {"a": _SECRET})
    error: object = await outcome(storage.read("broken"), StorageError)
    if not isinstance(error, CorruptValueError):
        raise NotApplicable("what is corrupt raises no CorruptValueError")  # for other clauses to complain about
    said = _said(error)
    expect(_SECRET not in said, "the message does not tell the value", said)
    expect("broken" in said, "the message names the key", said)


@clause("R12-names-key", "versioned")
async def names_key(bench: Bench) -> None:
    """A ConflictError names the key, so that an operator can find it, and on one line."""
    await bench.storage.write_versioned("chat:42", 1, None)
    with expect_error(ConflictError, "write_versioned of a key that exists, with expected=None") as caught:
        await bench.storage.write_versioned("chat:42", 2, None)
    said = str(caught.error)
    expect("chat:42" in said and "\n" not in said, "one line that names the key", said)


@clause("R12-one-line")
async def one_line(bench: Bench) -> None:
    """Messages are short and of one line, whatever the key looks like."""
    for key in ("a\n\n" + "x" * 600, "\ud800\n", "k" * 100_000):
        said = str(await outcome(bench.storage.read(key), StorageError))
        expect("\n" not in said and len(said) < 400, "one line of under 400 characters", f"{len(said)} characters")


@clause("R12-one-tree")
async def one_tree(bench: Bench) -> None:
    """Whatever goes wrong raises a StorageError: no driver's error, no TypeError, no KeyError comes through."""
    storage = bench.storage
    calls: list[Any] = [
        lambda: storage.write("key", object()),
        lambda: storage.write("key", None),
        lambda: storage.read(""),
        lambda: storage.read(None),  # type: ignore[arg-type]
        lambda: storage.write(1, 1),  # type: ignore[arg-type]
        lambda: storage.delete("k" * 10_000),
    ]
    if bench.capabilities.listing:
        calls += [
            lambda: anext(aiter(storage.keys("\ud800")), None),
            lambda: anext(aiter(storage.keys("k" * 10_000)), None),
        ]
    for call in calls:
        result = await outcome(call(), Exception)
        ours = not isinstance(result, Exception) or isinstance(result, StorageError)
        expect(ours, "a call with a bad key or value raises a StorageError, if any", type(result).__name__)


@clause("R16-quiet")
async def quiet(bench: Bench) -> None:
    """Nothing is printed, whether calls succeed or fail."""
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        storage = await bench.another()
        await storage.write("key", {"a": 1})
        await storage.read("key")
        await storage.read("nobody")
        await storage.delete("key")
        await outcome(storage.write("key", {1}), StorageError)
    expect(not out.getvalue(), "nothing is printed", out.getvalue())
