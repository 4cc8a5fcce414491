"""payload_jsonb: sessions for queries and indexes; what jsonb cannot hold is refused, and nothing is changed."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from satchel import Codec, ConfigurationError, ConflictError, UnsupportedValueError, open_storage
from satchel_conformance import validate
from satchel_postgres import PostgresStorage

README = Path(__file__).parents[1] / "README.md"
_HAVE_NUL: tuple[str, ...] = ("R2-nul", "R2-any-value", "R2-any-value-batch")


@pytest.fixture
def url(postgres_url: str, table: str) -> str:
    return f"{postgres_url}?table={table}&jsonb=true"


async def test_but_for_nul_all_values_and_versions_keep_their_rules(url: str) -> None:
    clauses = ["R1-falsy*", "R2", "R7-one-value-per-version", "R7-commit*"]
    report = await validate(url, clauses=clauses, exceptions=dict.fromkeys(_HAVE_NUL, "jsonb has no NUL"))
    assert report.ok, report.table()


class Text(Codec[str]):
    """Stores text as it is."""

    def encode(self, value: str) -> bytes:
        return value.encode()

    def decode(self, payload: bytes) -> str:
        return payload.decode()


@pytest.mark.parametrize(("value", "path"), [
    ({"user": {"name": "a\0b"}}, "$.user.name"),
    ([1, ["\0"]], "$[1][0]"),
    ({"a b": {"\0": 1}}, '$["a b"]'),
])  # fmt: skip
async def test_nul_is_refused_with_its_path_before_anything_is_sent(url: str, value: object, path: str) -> None:
    async with open_storage(url) as storage:
        await storage.write("chat:1", "old")
        for write in (storage.write("chat:1", value), storage.write("chat:2", [value])):
            with pytest.raises(UnsupportedValueError, match="NUL, which jsonb cannot hold"):
                await write
        with pytest.raises(UnsupportedValueError) as caught:
            await storage.write("chat:1", value)
        assert caught.value.path == path
        assert await storage.read("chat:1") == "old"
        await storage.write("chat:1", "\\u0000 in letters")
        assert await storage.read("chat:1") == "\\u0000 in letters"


@pytest.mark.parametrize("number", ["1e131072", "-1e131073", "1e-16384", "1" * 131_073, "1" * 20_000 + "e120000"])
async def test_numbers_beyond_numeric_are_refused_whatever_codec_writes_them(url: str, number: str) -> None:
    async with PostgresStorage[str](url, codec=Text()) as storage:
        with pytest.raises(UnsupportedValueError) as caught:
            await storage.write("chat:1", f'{{"a": [{number}]}}')
        assert caught.value.path == "$.a[0]"


@pytest.mark.parametrize("number", ["1e131071", "1e-16383", "-0", "1" * 131_072, "1E+5", "0.10"])
async def test_numbers_that_numeric_has_come_back_to_the_letter(url: str, number: str) -> None:
    async with PostgresStorage[str](url, codec=Text()) as storage:
        await storage.write("chat:1", f'{{"a" : {number}}}')
        assert await storage.read("chat:1") == f'{{"a" : {number}}}'


async def test_the_worst_of_the_longest_values_there_can_be_has_room(url: str) -> None:
    storage = PostgresStorage[str](url, codec=Text(), timeout=timedelta(minutes=2))
    longest = storage.capabilities.max_value_bytes
    assert longest is not None
    async with storage:
        value = "[" + ",".join("1" * (longest // 2 - 1)) + "]"
        await storage.write("chat:1", value)
        assert await storage.read("chat:1") == value


async def test_sessions_are_found_by_what_is_in_them_as_the_readme_says(
    url: str, table: str, raw: psycopg.AsyncConnection[Any]
) -> None:
    async with PostgresStorage[Any](url) as storage:
        await storage.write_many({"chat:1": {"cart": {"pizza": 2}}, "chat:2": {"cart": {}}})
    statements = README.read_text().partition("```sql\n")[2].partition("```")[0].replace("satchel_sessions", table)
    index, query = statements.strip().splitlines()
    await raw.execute(index.encode())
    assert await (await raw.execute(query.encode())).fetchall() == [("satchel:chat:1",)]


async def test_an_edit_by_hand_counts_as_a_new_version(url: str, table: str, raw: psycopg.AsyncConnection[Any]) -> None:
    async with PostgresStorage[Any](url) as storage:
        version = await storage.write_versioned("chat:1", {"pizza": 1}, None)
        edit = f"UPDATE {table} SET payload = jsonb_set(payload_jsonb, '{{pizza}}', '2')::json"
        await raw.execute(edit.encode())
        with pytest.raises(ConflictError):
            await storage.write_versioned("chat:1", {"pizza": 9}, version)
        assert await storage.read("chat:1") == {"pizza": 2}


async def test_a_table_without_the_column_says_how_it_gets_it(
    postgres_url: str, url: str, table: str, raw: psycopg.AsyncConnection[Any]
) -> None:
    async with open_storage(f"{postgres_url}?table={table}") as storage:
        await storage.write("chat:1", {"pizza": 1})
    with pytest.raises(ConfigurationError, match="ALTER TABLE") as caught:
        async with open_storage(url):
            pass
    await raw.execute(str(caught.value).partition(": ")[2].encode())
    async with open_storage(url) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}


@pytest.mark.parametrize("column", ["jsonb", "text"])
async def test_a_column_that_the_server_does_not_fill_is_refused_and_says_how_it_is_mended(
    postgres_url: str, url: str, table: str, raw: psycopg.AsyncConnection[Any], column: str
) -> None:
    async with open_storage(f"{postgres_url}?table={table}") as storage:
        await storage.write("chat:1", {"pizza": 1})
    await raw.execute(f"ALTER TABLE {table} ADD payload_jsonb {column}".encode())
    wrong = {"jsonb": "is not GENERATED, so nothing would fill it", "text": "is text, not jsonb"}[column]
    with pytest.raises(ConfigurationError, match=f"column payload_jsonb {wrong}: ALTER TABLE") as caught:
        async with open_storage(url):
            pass
    await raw.execute(str(caught.value).partition(": ")[2].encode())
    async with open_storage(url):
        found = await raw.execute(f"SELECT payload_jsonb FROM {table}".encode())
        assert await found.fetchall() == [({"pizza": 1},)]


async def test_a_storage_that_does_not_know_of_the_column_is_refused_by_the_server(
    postgres_url: str, url: str, table: str
) -> None:
    async with open_storage(url), open_storage(f"{postgres_url}?table={table}") as other:
        with pytest.raises(UnsupportedValueError, match="jsonb cannot hold"):
            await other.write("chat:1", "\0")
        assert await other.read("chat:1") is None
