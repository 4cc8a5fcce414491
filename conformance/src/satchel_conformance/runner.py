"""Trying a storage, clause by clause: `validate()`, and what pytest and the command line share with it."""

import asyncio
import re
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import isawaitable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from satchel import Capabilities, Lifecycle, open_storage
from satchel_conformance.bench import SETTING, Factory, Setting, open_bench
from satchel_conformance.checks import ClauseFailure, NotApplicable
from satchel_conformance.declared import Declared
from satchel_conformance.registry import Clause, select
from satchel_conformance.results import Report, Result, Status

LONGEST: Final = 60.0
"""The seconds after which a clause that is still running has failed."""

PROFILES: Final = MappingProxyType({"quick": 50, "thorough": 500})
"""On how many examples a property is tried."""

_SECRET: Final = re.compile("pass|secret|token|key", re.IGNORECASE)
_CLAUSES: Final = Path(__file__).parent / "clauses"


async def validate(
    storage: Factory | str,
    *,
    capabilities: Capabilities | None = None,
    shared: bool = True,
    network: bool | None = None,
    kill: Callable[[], object] | None = None,
    exceptions: Mapping[str, str] | None = None,
    clauses: Iterable[str] = (),
    profile: str = "quick",
    progress: Callable[[Result], None] | None = None,
) -> Report:
    """Try a storage and report what came of each clause.

        report = await validate("redis://localhost")
        assert report.ok, report.table()

    Args:
        storage: a URL for `satchel.open_storage`, or a factory, which makes a new storage on each call, over the same
            backend; it may be async. Options that it takes by name (`namespace`, `ttl`, `timeout`, `codec`) are tried;
            without `namespace`, the suite puts a random prefix before every key. Other processes, and faults of the
            network, are tried with a URL only.
        capabilities: what is declared of the storage; its own record if it has one, else nothing.
        shared: False if every storage has its records to itself, like a dict.
        network: whether the URL is of one server, which a proxy can stand in front of; by default, if it has a host.
        kill: ends the server with SIGKILL; it is to come back by itself, as under a supervisor. What was acknowledged
            by a storage that declares itself durable has to be there then.
        exceptions: clauses that may fail, each with the reason. One that passes fails, so that no exception outlives
            its reason.
        clauses: which to try, as ids, rules (`R4`) or globs; all if empty.
        profile: "quick", or "thorough", which tries ten times as many examples.
        progress: is called with each result as it comes.

    Raises:
        ValueError: `clauses`, `exceptions` or `profile` name one that is not there, or an exception gives no reason.
        SatchelError: the storage cannot be opened: there is no such server, or it lets nobody in.
    """
    url = storage if isinstance(storage, str) else ""
    factory: Factory = partial(open_storage, storage) if isinstance(storage, str) else storage
    setting = Setting(examples_of(profile), url, kill)
    if network is None:
        network = bool(url and urlsplit(url).hostname)
    excepted = check_exceptions(exceptions or {})
    chosen = select(clauses)
    name, own = await _meet(factory)
    declared = Declared(capabilities or own or Capabilities(), shared, bool(url), network, kill is not None)
    results: list[Result] = []
    for clause in chosen:
        result = await run_clause(clause, factory, declared, setting, excepted.get(clause.id, ""))
        results.append(result)
        if progress is not None:
            progress(result)
    return Report(name, tuple(results), target=_without_password(url)) if url else Report(name, tuple(results))


async def run_clause(
    clause: Clause, factory: Factory, declared: Declared, setting: Setting = SETTING, exception: str = ""
) -> Result:
    """Try one clause. Whatever goes wrong is in the result."""
    if missing := declared.missing(clause.needs):
        return Result(clause.id, clause.statement, clause.rule, Status.NOT_APPLICABLE, reason=missing)
    status, expected, happened, where, trace, reason = Status.FAILED, "", "", "", "", exception
    start = time.perf_counter()
    limit = asyncio.timeout(LONGEST)
    try:
        async with limit, open_bench(factory, declared, setting, opened=clause.opened) as bench:
            await clause.check(bench)
        status, reason = Status.PASSED, ""
        if exception:
            status, expected = Status.FAILED, f"it fails, as excepted: {exception}"
            happened = f"{clause.id} passes: take it out of `exceptions`"
            exception = ""
    except NotApplicable as error:
        status, reason = Status.NOT_APPLICABLE, str(error)
    except ClauseFailure as error:
        expected, happened, where = error.expected, error.happened, _where(error)
    except Exception as error:
        said = f"it had not ended after {LONGEST:g} s" if limit.expired() else f"{type(error).__name__}: {error}"
        expected, happened, where = clause.statement, said, _where(error)
        trace = "".join(traceback.format_exception(error, limit=-8))
    if status is Status.FAILED and exception:
        status = Status.EXCEPTED
    seconds = round(time.perf_counter() - start, 4)
    where = where or f"{clause.theme}.py"
    return Result(clause.id, clause.statement, clause.rule, status, expected, happened, where, trace, reason, seconds)


def examples_of(profile: str) -> int:
    """Return on how many examples a property is tried.

    Raises:
        ValueError: there is no such profile.
    """
    if profile not in PROFILES:
        raise ValueError(f"there is no profile {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def check_exceptions(exceptions: Mapping[str, str], called: str = "exceptions") -> Mapping[str, str]:
    """Return the exceptions if each names a clause and gives a reason.

    Raises:
        ValueError: one does not.
    """
    known = {clause.id for clause in select()}
    for name, reason in exceptions.items():
        if name not in known:
            raise ValueError(f"{called}: there is no clause {name!r}")
        if not isinstance(reason, str) or not reason.strip():
            raise ValueError(f"{called}: {name} needs a reason")
    return exceptions


def _without_password(url: str) -> str:
    """Return the URL as a report may show it."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    query = "&".join(item for item in parts.query.split("&") if not _SECRET.search(item.partition("=")[0]))
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{place}", query=query).geturl()


async def _meet(factory: Factory) -> tuple[str, Capabilities | None]:
    """Return the storage's name, and what it declares itself once it knows its server."""
    made: Any = factory()
    storage = await made if isawaitable(made) else made
    try:
        if isinstance(storage, Lifecycle):
            await storage.setup()
        capabilities = getattr(storage, "capabilities", None)
    finally:
        if isinstance(storage, Lifecycle):
            await storage.aclose()
    return type(storage).__name__, capabilities if isinstance(capabilities, Capabilities) else None


def _where(error: BaseException) -> str:
    """Return the last line of a clause that the error came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == _CLAUSES]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
