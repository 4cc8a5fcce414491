"""Rights: what the schema grants is enough, and what row-level security denies raises; it never reads as missing."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from satchel import Change, ConfigurationError, ConflictError
from satchel_conformance.servers.supabase import administer, api_key
from satchel_supabase import SupabaseStorage

from .conftest import client_of

README = Path(__file__).parents[1] / "README.md"
MARK = secrets.token_hex(4)
ALL = dict.fromkeys(("SELECT", "UPDATE", "DELETE"), "USING (true)") | {"INSERT": "WITH CHECK (true)"}
POLICIES = {
    "nothing": {},
    "own": {"ALL": "USING (starts_with(key, 'mine:') AND strpos(key, 'hidden') = 0)"},
    "tenant": {"ALL": "USING (starts_with(key, current_setting('request.jwt.claims')::json ->> 'bot' || ':'))"},
    **{f"no_{command.lower()}": {name: ALL[name] for name in ALL if name != command} for command in ALL},
}
"""What roles may see that have all rights to the table and its functions."""


def grants(to: str, table: str) -> str:
    names = ("check", "get", "put", "swap", "drop", "commit", "renew", "names", "purge")
    functions = ", ".join(f"{table}_{name}" for name in names)
    return f"GRANT ALL ON {table} TO {to}; GRANT EXECUTE ON FUNCTION {functions} TO {to};"


def token(name: str, **claims: str) -> str:
    return api_key(f"{name}_{MARK}", **claims)


@pytest.fixture(scope="module")
def table_url(scratch_url: str) -> str:
    """Make a role for each of the policies."""
    table = scratch_url.rpartition("/")[2]
    statements = [grants("anon", table)]
    for name, policies in POLICIES.items():
        role = f"{name}_{MARK}"
        statements += [f"CREATE ROLE {role}; GRANT {role} TO authenticator;", grants(role, table)]
        for command, condition in policies.items():
            statements.append(f"CREATE POLICY {role}_{command} ON {table} FOR {command} TO {role} {condition};")
    administer(scratch_url, "\n".join(statements))
    return scratch_url


@pytest.fixture
def table(table_url: str) -> str:
    return table_url.rpartition("/")[2]


def calls(storage: SupabaseStorage[Any], key: str) -> dict[str, Callable[[], Awaitable[Any]]]:
    async def listed() -> list[str]:
        return [found async for found in storage.keys(key)]

    return {
        "read": lambda: storage.read(key),
        "read_versioned": lambda: storage.read_versioned(key),
        "read_many": lambda: storage.read_many(["absent", key]),
        "write": lambda: storage.write(key, 2),
        "write_many": lambda: storage.write_many({"absent": 2, key: 2}),
        "create": lambda: storage.write_versioned(key, 2, None),
        "replace": lambda: storage.write_versioned(key, 2, storage.version_of(b"1")),
        "replace another": lambda: storage.write_versioned(key, 2, storage.version_of(b"3")),
        "touch": lambda: storage.touch(key),
        "delete": lambda: storage.delete(key),
        "delete_versioned": lambda: storage.delete_versioned(key, storage.version_of(b"1")),
        "delete_many": lambda: storage.delete_many(["absent", key]),
        "commit of a new one": lambda: storage.commit({"absent": Change(2, None), key: Change(2, None)}),
        "commit of another": lambda: storage.commit({key: Change(2, storage.version_of(b"1"))}),
        "commit of a deletion": lambda: storage.commit({key: Change(None, storage.version_of(b"1"))}),
        "commit of an absence": lambda: storage.commit({key: Change(None, None)}),
        "read_records": lambda: storage.read_records(["absent", key]),
        "keys": listed,
    }


async def test_without_a_policy_nothing_is_missing_and_all_is_denied(table_url: str, table: str) -> None:
    async with SupabaseStorage[Any](table_url, namespace="denied") as storage:
        await storage.write("there", 1)
        for key in (api_key("anon"), token("nothing")):
            async with client_of(table_url, key) as client:
                denied = SupabaseStorage[Any](client, table=table, namespace="denied")
                for there in ("there", "absent"):
                    for name, call in calls(denied, there).items():
                        with pytest.raises(ConfigurationError, match="row-level security policy") as caught:
                            pytest.fail(f"{name} gives {await call()!r}")
                        assert "\n" not in str(caught.value)
                        assert key not in str(caught.value)
        assert [key async for key in storage.keys()] == ["there"]
        assert await storage.read("there") == 1


async def test_a_policy_that_is_withdrawn_is_noticed_by_a_storage_that_is_open(table_url: str, table: str) -> None:
    async with (
        client_of(table_url, token("tenant", bot="gone")) as client,
        SupabaseStorage[Any](client, table=table, namespace="gone") as storage,
    ):
        await storage.write("there", 1)
        administer(table_url, f"ALTER POLICY tenant_{MARK}_ALL ON {table} USING (false)")
        try:
            for name, call in {**calls(storage, "there"), "purge": storage.purge_expired}.items():
                with pytest.raises(ConfigurationError, match="row-level security policy"):
                    pytest.fail(f"{name} gives {await call()!r}")
        finally:
            administer(table_url, f"ALTER POLICY tenant_{MARK}_ALL ON {table} {POLICIES['tenant']['ALL']}")
        assert await storage.read("there") == 1


@pytest.mark.parametrize("there", [True, False])
async def test_a_row_that_a_policy_hides_is_never_missing(table_url: str, table: str, there: bool) -> None:
    key = f"hidden:{there}"
    async with (
        client_of(table_url, token("own")) as client,
        SupabaseStorage[Any](client, table=table, namespace="mine") as storage,
        SupabaseStorage[Any](table_url, namespace="mine") as owner,
    ):
        if there:
            await owner.write(key, 1)
        for name, call in calls(storage, key).items():
            with pytest.raises(ConfigurationError, match="row-level security policy"):
                pytest.fail(f"{name} gives {await call()!r}")
        assert await owner.read(key) == (1 if there else None)
        assert await storage.read("absent") is None
        with pytest.raises(ConfigurationError, match="row-level security policy"):
            await SupabaseStorage[Any](client, table=table, namespace="yours").setup()


@pytest.mark.parametrize("command", ALL)
async def test_a_role_that_lacks_one_of_the_four_rights_is_refused_at_once(
    table_url: str, table: str, command: str
) -> None:
    async with client_of(table_url, token(f"no_{command.lower()}")) as client:
        with pytest.raises(ConfigurationError, match="forbids it to the role of its API key: .*row-level security"):
            await SupabaseStorage[Any](client, table=table).setup()


async def test_a_right_to_a_function_or_to_the_table_that_is_missing_is_named(
    url: str, table_url: str, table: str
) -> None:
    async with client_of(url, api_key("anon")) as client:
        with pytest.raises(ConfigurationError, match="permission denied for function satchel_sessions_check"):
            await SupabaseStorage[Any](client).read("chat:1")
    async with (
        client_of(table_url, token("own")) as client,
        SupabaseStorage[Any](client, table=table, namespace="mine") as storage,
    ):
        administer(table_url, f"REVOKE DELETE ON {table} FROM own_{MARK}")
        try:
            with pytest.raises(ConfigurationError, match=f"permission denied for table {table}"):
                await storage.delete("chat:1")
        finally:
            administer(table_url, grants(f"own_{MARK}", table))


async def test_within_its_policy_a_role_can_do_everything_and_leaves_nothing_else(table_url: str, table: str) -> None:
    async with (
        client_of(table_url, token("own")) as client,
        SupabaseStorage[Any](client, table=table, namespace="mine", ttl=timedelta(minutes=1)) as storage,
        SupabaseStorage[Any](table_url, namespace="other") as other,
    ):
        await other.write("chat:1", "other")
        await everything(storage)
        assert [key async for key in storage.keys()] == []
        assert await other.read("chat:1") == "other"


async def everything(storage: SupabaseStorage[Any]) -> None:
    assert await storage.read("chat:1") is None
    version = await storage.write_versioned("chat:1", 1, None)
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", 1, None)
    version = await storage.write_versioned("chat:1", 2, version)
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", 3, storage.version_of(b"1"))
    await storage.write_many({"chat:2": 2, "chat:3": 3})
    assert await storage.touch("chat:1")
    assert not await storage.touch("absent")
    assert await storage.read_many(["chat:1", "chat:2", "absent"]) == {"chat:1": 2, "chat:2": 2}
    assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2", "chat:3"]
    await storage.delete_versioned("chat:1", version)
    with pytest.raises(ConflictError):
        await storage.delete_versioned("chat:1", version)
    versions = await storage.commit({"chat:1": Change(1, None), "absent": Change(None, None)})
    with pytest.raises(ConflictError, match="'chat:1' is not"):
        await storage.commit({"absent": Change(1, None), "chat:1": Change(1, None)})
    versions = await storage.commit({"chat:1": Change(2, versions["chat:1"])})
    await storage.commit({"chat:1": Change(None, versions["chat:1"])})
    await storage.delete("absent")
    await storage.delete_many(["chat:2", "chat:3", "absent"])
    await storage.purge_expired()


async def test_tokens_of_one_role_see_what_their_claims_say(table_url: str, table: str) -> None:
    async with (
        client_of(table_url, token("tenant", bot="first")) as one,
        client_of(table_url, token("tenant", bot="second")) as two,
        SupabaseStorage[Any](one, table=table, namespace="first") as first,
        SupabaseStorage[Any](two, table=table, namespace="second") as second,
    ):
        await first.write("chat:1", 1)
        assert await second.read("chat:1") is None
        with pytest.raises(ConfigurationError, match="row-level security policy"):
            await SupabaseStorage[Any](two, table=table, namespace="first").read("chat:1")


async def test_who_creates_and_deletes_at_once_under_a_policy_is_not_denied(table_url: str, table: str) -> None:
    async with (
        client_of(table_url, token("own")) as client,
        SupabaseStorage[Any](client, table=table, namespace="mine") as storage,
    ):

        async def contend(number: int) -> int:
            won = 0
            for _ in range(10):
                with suppress(ConflictError):
                    version = await storage.write_versioned("contended", number, None)
                    await storage.read("contended")
                    await storage.delete_versioned("contended", version)
                    won += 1
            return won

        assert sum(await asyncio.gather(*(contend(number) for number in range(8)))) > 0
        assert await storage.read("contended") is None


async def test_the_role_that_the_readme_describes_has_rights_enough_and_none_to_spare(url: str) -> None:
    block = README.read_text().partition("```sql\nCREATE ROLE")[2].partition("```")[0]
    role, bot = f"satchel_bot_{MARK}", f"mybot_{MARK}"
    statements = f"CREATE ROLE{block}".replace("satchel_bot", role).replace("mybot", bot)
    administer(url, statements)
    async with client_of(url, api_key(role)) as client:
        async with SupabaseStorage[Any](client, namespace=bot, ttl=timedelta(minutes=1)) as storage:
            await everything(storage)
            for statement in [
                line for line in statements.split(";") if "GRANT" in line and "authenticator" not in line
            ]:
                administer(url, statement.replace("GRANT", "REVOKE").replace(" TO ", " FROM "))
                with pytest.raises(ConfigurationError, match="permission denied"):
                    await everything(storage)
                administer(url, statement)
        with pytest.raises(ConfigurationError, match="row-level security policy"):
            await SupabaseStorage[Any](client).setup()
