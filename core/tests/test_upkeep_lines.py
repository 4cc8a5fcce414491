"""JSON Lines: what was exported is imported again, exactly; a broken line is named, and nothing is written."""

import io
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from recording import Plain
from satchel import ConfigurationError, CorruptValueError, MemoryStorage, StorageUnavailableError, typed
from satchel.upkeep import VERBATIM, Outcome, Summary, export_lines, import_lines
from test_upkeep_copy import content, many

ODD = {
    "odd:1": {"z": 1, "a": [1.0, -0.0, 10**30, None, True]},
    "with\nnewline and \x00": "\u2028 and \U0001f355",
    'quote"': {"$satchel": {"version": 3}, "data": {}},
    "чат:2": [[]],
}


async def test_what_was_exported_is_imported_exactly(tmp_path: Path) -> None:
    old, new = MemoryStorage[Any](), MemoryStorage[Any]()
    await old.write_many({**ODD, **many(500)})
    file = tmp_path / "sessions.jsonl"
    assert await export_lines(old, file) == Summary(done=504)
    with file.open("rb") as lines:
        assert await import_lines(new, lines) == Summary(done=504)
        lines.seek(0)
        assert await import_lines(new, lines) == Summary(same=504)
    assert {repr(item) for item in (await content(new)).items()} == {
        repr(item) for item in {**ODD, **many(500)}.items()
    }
    assert all(json.loads(line).keys() == {"key", "value"} for line in file.read_text().split("\n")[:-1])


async def test_a_file_is_whole_or_as_it_was_and_for_its_owner_only(tmp_path: Path) -> None:
    storage, file = MemoryStorage[Any](), tmp_path / "sessions.jsonl"
    await storage.write_many(many(50))
    await export_lines(storage, file, prefix="chat:1")
    before = file.read_bytes()
    assert before.count(b"\n") == 11
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def fail(_: Outcome) -> None:
        raise StorageUnavailableError("gone")

    with pytest.raises(StorageUnavailableError):
        await export_lines(storage, file, progress=fail)
    assert file.read_bytes() == before
    assert [left.name for left in tmp_path.iterdir()] == ["sessions.jsonl"]
    with pytest.raises(ConfigurationError, match="cannot be written"):
        await export_lines(storage, tmp_path / "no such folder" / "x")


async def test_what_cannot_be_read_is_left_out_and_named() -> None:
    storage, out = MemoryStorage[Any](), io.BytesIO()
    await storage.write_many(many(5))
    await storage.put("satchel:broken", b"{")
    told: list[Outcome] = []
    assert await export_lines(storage, out, progress=told.append) == Summary(done=5, failed=1)
    assert out.getvalue().count(b"\n") == 5
    assert "'broken' in memory:// is not JSON" in next(outcome.why for outcome in told if outcome.key == "broken")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "line 3 is no record: not JSON"),
        (b'{"key":"a"}', 'line 3 is no record: not an object of "key" and "value"'),
        (b'{"key":"a","value":1,"more":2}', "line 3 is no record: not an object"),
        (b"[1]", "line 3 is no record: not an object"),
        (b'{"key":"","value":1}', "line 3 is no record: a session key cannot be empty"),
        (b'{"key":7,"value":1}', "line 3 is no record: a session key is a string"),
        (b'{"key":"\\ud800","value":1}', "line 3 is no record: session key .* lone surrogate"),
        (b'{"key":"a","value":null}', r"line 3 is no record: \$ is None"),
        (b'{"key":"a","value":NaN}', "line 3 is no record: not JSON: NaN"),
        (b'{"key":"a","value":"\\ud800"}', r"line 3 is no record: \$ has a lone surrogate"),
        (b'{"key":"a","value":"\xff"}', "line 3 is no record: not JSON"),
        (b'{"key":"a","value":"secret"', "line 3 is no record: not JSON"),
    ],
)
async def test_a_broken_line_is_named_by_its_number_and_nothing_is_written(line: bytes, reason: str) -> None:
    new = MemoryStorage[Any]()
    good = b"".join(b'{"key":"chat:%d","value":1}\n' % number for number in range(500))
    with pytest.raises(CorruptValueError, match=reason) as caught:
        await import_lines(new, io.BytesIO(b'{"key":"first","value":1}\n\n' + line + b"\n" + good))
    assert await content(new) == {}
    assert "secret" not in str(caught.value)


async def test_a_line_that_is_broken_far_behind_keeps_those_before_it_from_being_written() -> None:
    new = MemoryStorage[Any]()
    good = b"".join(b'{"key":"chat:%d","value":1}\n' % number for number in range(20_000))
    with pytest.raises(CorruptValueError, match="line 20001 is no record"):
        await import_lines(new, io.BytesIO(good + b'{"key":'))
    assert await content(new) == {}


async def test_an_import_creates_and_overwrites_only_if_it_is_to() -> None:
    new = MemoryStorage[Any]()
    await new.write_many({"a": "of the bot", "b": 2})
    lines = io.BytesIO(b'{"key":"a","value":1}\n{"key":"b","value":2}\n{"key":"c","value":3}')
    assert await import_lines(new, lines) == Summary(done=1, same=1, differing=1)
    assert await content(new) == {"a": "of the bot", "b": 2, "c": 3}
    lines.seek(0)
    assert await import_lines(new, lines, overwrite=True) == Summary(done=1, same=2)
    assert await new.read("a") == 1
    with pytest.raises(ConfigurationError, match="no versions"):
        await import_lines(Plain(), lines)


async def test_a_key_that_comes_twice_is_not_lost_silently() -> None:
    new = MemoryStorage[Any]()
    lines = io.BytesIO(b'{"key":"a","value":1}\n{"key":"a","value":2}\n{"key":"a","value":1}\n')
    assert await import_lines(new, lines) == Summary(done=1, same=1, differing=1)


@dataclass
class Visit:
    pizzas: int


async def test_typed_values_are_lines_of_their_json() -> None:
    old, new, out = MemoryStorage(codec=typed(Visit)), MemoryStorage(codec=typed(Visit)), io.BytesIO()
    await old.write("chat:1", Visit(3))
    await export_lines(old, out)
    assert out.getvalue() == b'{"key":"chat:1","value":{"pizzas":3}}\n'
    await import_lines(new, io.BytesIO(out.getvalue()))
    assert await new.read("chat:1") == Visit(3)
    with pytest.raises(CorruptValueError, match="line 1 is no record"):
        await import_lines(new, io.BytesIO(b'{"key":"chat:1","value":{"pizzas":"many"}}'))


async def test_payloads_as_they_are_have_no_lines() -> None:
    with pytest.raises(ConfigurationError, match="show no values"):
        await export_lines(MemoryStorage(codec=VERBATIM), io.BytesIO())
