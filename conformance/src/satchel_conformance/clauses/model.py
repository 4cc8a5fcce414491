"""The model: any sequence of calls does to a storage what it does to a dict."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, NoReturn

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from satchel import ConflictError
from satchel_conformance.bench import Bench, Everything
from satchel_conformance.checks import ClauseFailure, same, shown
from satchel_conformance.registry import clause
from satchel_conformance.trying import Run, try_machine

_TTL: Final = timedelta(milliseconds=50)
_STEPS: Final = 25


@clause("R1-model", "shared")
async def model(bench: Bench) -> None:
    """Any sequence of reads, writes and deletes, through two storages and in two namespaces, acts as on dicts."""
    storages = {"one": (bench.storage, "first"), "two": (await _second(bench, bench.storage), "first")}
    if bench.takes("namespace"):
        storages["other"] = (await bench.another("other"), "second")
    await _run(bench, storages, _PlainModel)


@clause("R7-model", "shared", "versioned")
async def versioned_model(bench: Bench) -> None:
    """Any sequence of plain and versioned writes and deletes, through two storages, acts as on a dict with versions."""
    storages = {"one": (bench.storage, "first"), "two": (await _second(bench, bench.storage), "first")}
    await _run(bench, storages, _VersionedModel)


@clause("R6-model", "shared", "expiring")
async def expiring_model(bench: Bench) -> None:
    """Any sequence of writes, touches and pauses, in two storages, shows a record for its lifetime, and no longer."""
    resolution = bench.capabilities.ttl_resolution
    fine = resolution is not None and resolution <= timedelta(milliseconds=10)
    bench.need(fine, "lifetimes are too coarse to wait for")
    one = await bench.another(ttl=_TTL)
    storages = {"one": (one, "first"), "two": (await _second(bench, one, ttl=_TTL), "first")}
    await _run(bench, storages, _ExpiringModel, share=6, steps=8)


async def _second(bench: Bench, first: Everything, **options: Any) -> Everything:
    """Return another storage over the same records, or the first where others may see a write later."""
    return await bench.another(**options) if bench.capabilities.read_your_writes else first


async def _run(bench: Bench, storages: Any, kind: "type[_Model]", share: int = 2, steps: int = _STEPS) -> None:
    failures: list[ClauseFailure] = []
    try:
        await try_machine(
            lambda run: kind(run, bench, storages, failures), max(3, bench.profile.programs // share), steps
        )
    except ClauseFailure:
        raise
    except Exception as error:
        if failures:  # what depends on time may not fail again when Hypothesis tries it again, of which it complains
            raise failures[-1] from None
        raise ClauseFailure("no call of the sequence to raise", f"{type(error).__name__}: {error}") from error


_KEYS: Final = ("a", "A", "a:b", "é", "e\u0301", "a%3Ab")
_keys = st.sampled_from(_KEYS)
_few = st.sampled_from(_KEYS[:2])  # where the history of one key is what matters
_who = st.sampled_from(["one", "two", "other"])
_values: st.SearchStrategy[Any] = st.sampled_from((0, 1, 2, "", "text", [], [1], {}, {"a": 1}))
"""Few, so that they come again: what values there may be is for other clauses."""
_either = st.sampled_from(["one", "two"])
_calls = st.sampled_from(["write", "touch", "touch"])
_parts = st.sampled_from([0.6, 0.6, 0.6, 1.0])  # of a lifetime
_batches = st.lists(_keys, min_size=1, max_size=2, unique=True)
_few_batches = st.lists(_few, min_size=1, max_size=2, unique=True)


class _Model(RuleBasedStateMachine):
    """Plays each call on a storage and on a dict, and notes it as a line of code."""

    def __init__(
        self, run: Run, bench: Bench, storages: dict[str, tuple[Everything, str]], failures: list[ClauseFailure]
    ) -> None:
        super().__init__()
        self.failures = failures
        self.run = run
        self.bench = bench
        self.storages = storages
        self.dicts: dict[str, dict[str, Any]] = {name: {} for _, name in storages.values()}
        self.used: dict[str, set[str]] = {name: set() for name in self.dicts}
        self.lines: list[str] = []

    def teardown(self) -> None:
        for storage, name in self.storages.values():
            self.run(_cleared(storage, self.used[name]))
            self.used[name] = set()

    def storage(self, who: str) -> Everything:
        return self.storages.get(who, self.storages["one"])[0]

    def known(self, who: str) -> dict[str, Any]:
        return self.dicts[self.storages.get(who, self.storages["one"])[1]]

    def do(self, who: str, call: str, *arguments: Any) -> Any:
        who = who if who in self.storages else "one"
        self.lines.append(f"await {who}.{call}({', '.join(map(repr, arguments))})")
        keys = arguments[0]
        self.used[self.storages[who][1]].update([keys] if isinstance(keys, str) else keys)
        return self.run(_called(self.storage(who), call, arguments))

    def fail(self, expected: str, happened: str) -> NoReturn:
        self.failures.append(ClauseFailure(f"{'; '.join(self.lines)} {expected}", happened))
        raise self.failures[-1]

    def agree(self, happened: Any, expected: Any) -> None:
        if isinstance(expected, dict) and isinstance(happened, dict):
            happened, expected = dict(sorted(happened.items())), dict(sorted(expected.items()))
        if not same(happened, expected):
            self.fail(f"to give {shown(expected)}", shown(happened))


class _WritingModel(_Model):
    """Reads, writes and deletes, in batches too."""

    @rule(who=_who, key=_keys, value=_values)
    def write(self, who: str, key: str, value: Any) -> None:
        self.do(who, "write", key, value)
        self.known(who)[key] = value

    @rule(who=_who, key=_keys)
    def delete(self, who: str, key: str) -> None:
        self.do(who, "delete", key)
        self.known(who).pop(key, None)

    @rule(who=_who, key=_keys)
    def read(self, who: str, key: str) -> None:
        self.agree(self.do(who, "read", key), self.known(who).get(key))

    @rule(who=_who, keys=_batches, value=_values)
    def batch(self, who: str, keys: Any, value: Any) -> None:
        if self.bench.capabilities.batch:
            self.do(who, "write_many", dict.fromkeys(keys, value))
            self.known(who).update(dict.fromkeys(keys, value))
            self.agree(self.do(who, "read_many", keys), dict.fromkeys(keys, value))
            self.do(who, "delete_many", keys[:1])
            for key in keys[:1]:
                self.known(who).pop(key, None)


class _PlainModel(_WritingModel):
    """Lists as well."""

    @rule(who=_who)
    def list(self, who: str) -> None:
        if self.bench.capabilities.listing:
            listed = self.run(_listed(self.storage(who)))
            self.lines.append(f"sorted([key async for key in {who}.keys()])")
            self.agree(listed, sorted(self.known(who)))


class _VersionedModel(_WritingModel):
    """Knows the version of every value, and every version that there ever was."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.seen: dict[tuple[str, str], Any] = {}

    @rule(who=_who, key=_few, value=_values)
    def write(self, who: str, key: str, value: Any) -> None:
        self.version(who, key)
        super().write(who, key, value)
        self.version(who, key)

    @rule(who=_who, keys=_few_batches, value=_values)
    def batch(self, who: str, keys: Any, value: Any) -> None:
        super().batch(who, keys, value)

    @rule(who=_who, key=_few)
    def read_versioned(self, who: str, key: str) -> None:
        record = self.do(who, "read_versioned", key)
        self.agree(None if record is None else record.value, self.known(who).get(key))
        if record is not None:
            self.stands_for(key, record.version, record.value)

    @rule(who=_who, key=_few, value=_values, stale=st.booleans())
    def write_versioned(self, who: str, key: str, value: Any, stale: bool) -> None:
        current = self.version(who, key)
        others = [version for (of, version) in self.seen if of == key and version != current]
        expected = others[0] if stale and others else None if stale else current
        try:
            version = self.do(who, "write_versioned", key, value, expected)
        except ConflictError:
            if expected == current:
                self.fail("to write", "ConflictError")
            return
        if expected != current:
            self.fail("to raise ConflictError", "it wrote")
        self.known(who)[key] = value
        self.stands_for(key, version, value)

    @rule(who=_who, key=_few, stale=st.booleans())
    def delete_versioned(self, who: str, key: str, stale: bool) -> None:
        current = self.version(who, key)
        others = [version for (of, version) in self.seen if of == key and version != current]
        expected = others[0] if stale and others else current
        if expected is None or not self.bench.capabilities.conditional_delete:
            return
        try:
            self.do(who, "delete_versioned", key, expected)
        except ConflictError:
            if expected == current:
                self.fail("to delete", "ConflictError")
            return
        if expected != current:
            self.fail("to raise ConflictError", "it deleted")
        self.known(who).pop(key, None)

    def version(self, who: str, key: str) -> str | None:
        record = self.do(who, "read_versioned", key)
        if record is None:
            return None
        self.stands_for(key, record.version, record.value)
        return str(record.version)

    def stands_for(self, key: str, version: str, value: Any) -> None:
        if not same(self.seen.setdefault((key, version), value), value):
            self.fail("one version, one value", f"{version!r} stands for two")


class _ExpiringModel(_Model):
    """Knows when the record ends at the earliest and at the latest, and looks after every step."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.end = (0.0, 0.0)  # the earliest and the latest
        self.during = (0.0, 0.0)  # when the last call began and ended
        resolution = self.bench.capabilities.ttl_resolution
        assert resolution is not None
        self.slack = resolution.total_seconds() * 2 + 0.001

    @rule(who=_either, call=_calls, value=st.integers(0, 99), part=_parts)
    def renew(self, who: str, call: str, value: int, part: float) -> None:
        """Write or touch; then look after a part of the lifetime, or after all of it."""
        if call == "write":
            self.observe(lambda: self.do(who, "write", "a", value))
            self.known(who)["a"] = value
            there = True
        else:
            state, there = self.observe(lambda: self.do(who, "touch", "a"))
            if (there and state == "dead") or (not there and state == "alive"):
                self.fail(f"to say that the record is {state}", f"it says {there}")
        if there:
            before, after = self.during
            self.end = (before + _TTL.total_seconds(), after + _TTL.total_seconds() + self.slack)
        seconds = part * (_TTL.total_seconds() + self.slack)
        self.lines.append(f"await asyncio.sleep({seconds:.3f})")
        self.run(asyncio.sleep(seconds))
        self.look(who)

    def look(self, who: str) -> None:
        """Read and list, and see that both agree with the record's lifetime."""
        state, value = self.observe(lambda: self.do(who, "read", "a"))
        if (value is None and state == "alive") or (value is not None and state == "dead"):
            self.fail(f"to find the record {state}", shown(value))
        if value is not None:
            self.agree(value, self.known(who)["a"])
        if self.bench.capabilities.listing:
            state, listed = self.observe(lambda: self.run(_listed(self.storage(who))))
            self.lines.append(f"[key async for key in {who}.keys()]")
            if ("a" in listed and state == "dead") or ("a" not in listed and state == "alive"):
                self.fail(f"to agree that the record is {state}", shown(listed))

    def observe(self, call: Callable[[], Any]) -> tuple[str, Any]:
        """Return what the record was during a call, "alive", "dead" or "either", and what the call gave."""
        before = time.monotonic()
        happened = call()
        self.during = (before, time.monotonic())
        earliest, latest = self.end
        return "alive" if self.during[1] < earliest else "dead" if before > latest else "either", happened


async def _called(storage: Everything, call: str, arguments: tuple[Any, ...]) -> Any:
    return await getattr(storage, call)(*arguments)


async def _listed(storage: Everything) -> list[str]:
    return sorted([key async for key in storage.keys()])


async def _cleared(storage: Everything, keys: set[str]) -> None:
    await asyncio.gather(*(storage.delete(key) for key in keys))
