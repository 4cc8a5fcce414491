"""Trying a storage, clause by clause: `validate()`, and what pytest and the command line share with it."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from inspect import isawaitable
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from satchel import Capabilities, Lifecycle, SatchelError, StorageUnavailableError, open_storage
from satchel_conformance.bench import QUICK, THOROUGH, Factory, Profile, Setting, close
from satchel_conformance.checks import shown
from satchel_conformance.declared import Declared
from satchel_conformance.registry import select
from satchel_conformance.results import Report, Result
from satchel_conformance.running import at_once, in_turn, prepare

PROFILES: Final = MappingProxyType({"quick": QUICK, "thorough": THOROUGH})
"""How much is tried, by name."""

_TO_MEET: Final = 60.0  # seconds
_SECRET: Final = re.compile("pass|secret|token|key", re.IGNORECASE)


async def validate(
    storage: Factory | str,
    *,
    capabilities: Capabilities | None = None,
    shared: bool = True,
    network: bool | None = None,
    kill: Callable[[], object] | None = None,
    exceptions: Mapping[str, str] | None = None,
    races: Mapping[str, str] | None = None,
    clauses: Iterable[str] = (),
    profile: str = "quick",
    jobs: int = 1,
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
        shared: False if every storage has its records to itself, like a dict; each of memory:// has.
        network: whether the URL is of one server, which a proxy can stand in front of; by default, if it has a host.
        kill: ends the server with SIGKILL; it is to come back by itself, as under a supervisor. What was acknowledged
            by a storage that declares itself durable has to be there then.
        exceptions: clauses that may fail, each with the reason. One that passes fails, so that no exception outlives
            its reason.
        races: clauses that a server which stands in for the backend breaks once in a while, whoever its client is, each
            with what was seen of it. They are tried up to twenty times; the result says so when that was needed.
        clauses: which to try, as ids, rules (`R4`) or globs; all if empty.
        profile: "quick", or "thorough", which tries many more examples, and more of what takes many requests.
        jobs: in how many processes to try clauses at once. Each imports the factory by its name, and makes its own
            storages with it; a script that is not guarded by `if __name__ == "__main__"` would run again in each.
        progress: is called with each result as it comes.

    Raises:
        ValueError: `clauses`, `exceptions`, `races` or `profile` name one that is not there, an exception or a race
            gives no reason, or a clause is named as both; or there are to be several jobs, and `storage` or `kill`
            cannot be handed to another process; or the factory makes no storage, the same one each time, or raises what
            is no SatchelError.
        SatchelError: the storage cannot be opened: there is no such server, or it lets nobody in.
        BrokenProcessPool: one of several jobs has ended; the message names the clauses that were tried then.
    """
    url = storage if isinstance(storage, str) else ""
    factory: Factory = partial(open_storage, storage) if isinstance(storage, str) else storage
    setting = Setting(profile_of(profile), url, kill, *check_exceptions(exceptions or {}, races or {}))
    if network is None:
        network = bool(url and urlsplit(url).hostname)
    chosen = select(clauses)
    context = prepare(factory, setting) if jobs > 1 else None
    name, own = await _meet(factory)
    shared = shared and urlsplit(url).scheme != "memory"
    declared = Declared(capabilities or own or Capabilities(), shared, bool(url), network, kill is not None)
    start = time.perf_counter()
    results: dict[str, Result] = {}
    if context is None:
        running = in_turn(chosen, factory, declared, setting)
    else:
        running = at_once(chosen, factory, declared, setting, jobs, context)
    async for result in running:
        results[result.clause] = result
        if progress is not None:
            progress(result)
    report = Report(name, tuple(results[clause.id] for clause in chosen), seconds=time.perf_counter() - start)
    return replace(report, target=_without_password(url)) if url else report


def profile_of(name: str) -> Profile:
    """Return the profile of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROFILES:
        raise ValueError(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]


def check_exceptions(exceptions: Mapping[str, str], races: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return both, as other processes can be given them, if each names clauses, with reasons, and none is in both.

    Raises:
        ValueError: it is not so.
    """
    known = {clause.id for clause in select()}
    for called, some in (("exceptions", exceptions), ("races", races)):
        for name, reason in some.items():
            if name not in known:
                raise ValueError(f"{called}: there is no clause {name!r}")
            if not isinstance(reason, str) or not reason.strip():
                raise ValueError(f"{called}: {name} needs a reason")
    if both := sorted({*exceptions} & {*races}):
        raise ValueError(f"{both[0]} is in exceptions and in races: a clause either fails, or does so at times")
    return dict(exceptions), dict(races)


def _without_password(url: str) -> str:
    """Return the URL as a report may show it."""
    parts = urlsplit(url)
    user, at, place = parts.netloc.rpartition("@")
    query = "&".join(item for item in parts.query.split("&") if not _SECRET.search(item.partition("=")[0]))
    return parts._replace(netloc=f"{user.partition(':')[0]}{at}{place}", query=query).geturl()


async def _made(factory: Factory) -> Any:
    limit = asyncio.timeout(_TO_MEET)
    try:
        async with limit:
            made: Any = factory()
            return await made if isawaitable(made) else made
    except SatchelError:
        raise
    except Exception as error:
        said = f"had not ended after {_TO_MEET:g} s" if limit.expired() else f"raised {type(error).__name__}: {error}"
        raise ValueError(f"the factory {said}") from error


async def _meet(factory: Factory) -> tuple[str, Capabilities | None]:
    """Return the storage's name, and what it declares itself once it knows its server."""
    storage = await _made(factory)
    is_class = isinstance(storage, type)
    if is_class or not any(hasattr(storage, method) for method in ("read", "write", "delete")):
        why = "a class, not a storage" if is_class else "no storage: it has no read, write and delete"
        raise ValueError(f"the factory made {shown(storage)}, which is {why}")
    limit = asyncio.timeout(_TO_MEET)
    try:
        async with limit:
            try:
                if isinstance(storage, Lifecycle):
                    await storage.setup()
                capabilities = getattr(storage, "capabilities", None)
            finally:
                if isinstance(storage, Lifecycle):
                    await storage.aclose()
    except TimeoutError:
        if limit.expired():
            raise StorageUnavailableError(f"setup() and aclose() had not ended after {_TO_MEET:g} s") from None
        raise
    second = await _made(factory)
    if second is storage:
        raise ValueError("the factory gave the same storage twice: it has to make a new one on each call")
    if isinstance(second, Lifecycle):
        await close(second)
    return type(storage).__name__, capabilities if isinstance(capabilities, Capabilities) else None
