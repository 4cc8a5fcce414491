"""Users: the rights that `schema` names are enough, and where some are missing it is said."""

import json
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure

from satchel import ConfigurationError
from satchel_mongodb import MongoDBStorage


@pytest.fixture
async def root(mongodb_auth_url: str, namespace: str) -> AsyncIterator[AsyncMongoClient[Any]]:
    """A client that may do all, of a server without replicas that asks who one is."""
    async with AsyncMongoClient[Any](mongodb_auth_url) as client:
        yield client
        await client[namespace].command("dropAllUsersFromDatabase")
        await client[namespace].command("dropAllRolesFromDatabase")
        await client.drop_database(namespace)


def as_bot(url: str, database: str) -> str:
    """Return the URL of a server for the user that the schema makes."""
    return re.sub(r"//.*@(.*)/\?.*", rf"//satchel:PASSWORD@\1/{database}", url)


def commands(storage: MongoDBStorage[Any], database: str) -> list[dict[str, Any]]:
    """Return the commands in what the schema says to a shell."""
    start, end = f'db.getSiblingDB("{database}").runCommand(', ")"
    lines = storage.schema().splitlines()
    assert all(line.startswith(start) and line.endswith(end) for line in lines)
    return [json.loads(line[len(start) : -len(end)]) for line in lines]


async def every_call(storage: MongoDBStorage[Any]) -> None:
    await storage.delete("chat:1")
    version = await storage.write_versioned("chat:1", 1, None)
    version = await storage.write_versioned("chat:1", 2, version)
    await storage.write_many({"chat:2": 2, "chat:3": 3})
    assert await storage.touch("chat:1")
    assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
    assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2", "chat:3"]
    assert await storage.purge_expired() == 0
    await storage.delete_versioned("chat:1", version)
    await storage.delete_many(["chat:2", "chat:3"])


@pytest.mark.parametrize("create", [True, False])
async def test_the_rights_that_the_schema_names_are_enough_and_nothing_is_spare(
    mongodb_auth_url: str, namespace: str, root: AsyncMongoClient[Any], create: bool
) -> None:
    options: dict[str, Any] = {"create": create, "ttl": timedelta(minutes=1)}
    index, role, user = commands(MongoDBStorage(mongodb_auth_url, database=namespace, create=create), namespace)
    if not create:
        await root[namespace].command(index)
    await root[namespace].command(role)
    await root[namespace].command(user)
    url = as_bot(mongodb_auth_url, namespace)
    async with MongoDBStorage[Any](url, **options) as storage:
        await every_call(storage)
    found = await root[namespace]["satchel_sessions"].index_information()
    assert found["expires_at_1"]["expireAfterSeconds"] == 0
    (privilege,) = role["privileges"]
    for action in privilege["actions"]:
        if create:
            await root[namespace]["satchel_sessions"].drop()
        others = [other for other in privilege["actions"] if other != action]
        await root[namespace].command("updateRole", "satchel", privileges=[{**privilege, "actions": others}])
        with pytest.raises(ConfigurationError, match="forbids its user something"):
            async with MongoDBStorage[Any](url, **options) as storage:
                await every_call(storage)


async def test_the_rights_are_for_one_collection(
    mongodb_auth_url: str, namespace: str, root: AsyncMongoClient[Any]
) -> None:
    for command in commands(MongoDBStorage(mongodb_auth_url, database=namespace), namespace):
        await root[namespace].command(command)
    async with AsyncMongoClient[Any](as_bot(mongodb_auth_url, namespace)) as bot:
        for forbidden in (
            bot[namespace]["other"].find_one({}),
            bot["other"]["satchel_sessions"].insert_one({}),
            bot[namespace]["satchel_sessions"].drop(),
            bot[namespace].create_collection("other"),
        ):
            with pytest.raises(OperationFailure, match="not authorized"):
                await forbidden


@pytest.mark.parametrize("login", ["", "nobody:hunter2@", "root:hunter2@"])
async def test_a_login_that_the_server_does_not_take_is_said_without_the_password(
    mongodb_auth_url: str, login: str
) -> None:
    url = re.sub("//.*@", f"//{login}", mongodb_auth_url)
    with pytest.raises(ConfigurationError, match="user name and password" if login else "forbids its user") as caught:
        async with MongoDBStorage[Any](url):
            pass
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
