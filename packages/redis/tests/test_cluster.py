"""A real Cluster of three primaries with a replica each."""

import asyncio
import random
import shlex
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.cluster import LoadBalancingStrategy
from redis.utils import str_if_bytes

from satchel import (
    Change,
    ConfigurationError,
    ConflictError,
    CorruptValueError,
    SessionGroup,
    Sessions,
    StorageUnavailableError,
    Transactional,
)
from satchel_redis import RedisStorage


@pytest.fixture
def url(redis_cluster_url: str) -> str:
    return redis_cluster_url.replace("redis://", "redis+cluster://")


@pytest.fixture(params=[0, 1])
def wait_replicas(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
async def storage(url: str, namespace: str, wait_replicas: int) -> AsyncIterator[RedisStorage[Any]]:
    minute = timedelta(minutes=1)
    async with RedisStorage[Any](url, namespace=namespace, ttl=minute, wait_replicas=wait_replicas) as storage:
        yield storage


@pytest.fixture
async def raw(redis_cluster_url: str) -> AsyncIterator[RedisCluster]:
    async with RedisCluster.from_url(redis_cluster_url) as client:
        yield client


async def test_sessions_are_spread_over_all_primaries_and_listed_from_all(
    storage: RedisStorage[Any], namespace: str, raw: RedisCluster
) -> None:
    sessions = Sessions(storage, initial=lambda: {"n": 0})
    keys = [f"chat:{number}" for number in range(60)] + ["{tag}:1", "{tag}:2"]

    async def count(key: str) -> None:
        for _ in range(2):
            async with sessions.open(key) as session:
                session.data["n"] += 1

    await asyncio.gather(*(count(key) for key in keys))
    assert sorted([key async for key in storage.keys()]) == sorted(keys)
    assert sorted([key async for key in storage.keys("{tag}")]) == ["{tag}:1", "{tag}:2"]
    assert await storage.read_many([*keys, "missing"]) == {key: {"n": 2} for key in keys}
    nodes = [raw.get_node_from_key(f"{namespace}:{key}") for key in keys]
    assert len(raw.get_primaries()) == 3
    assert all(node in nodes for node in raw.get_primaries())
    await storage.delete_many(keys)
    assert [key async for key in storage.keys()] == []


async def test_a_batch_is_not_atomic_and_says_so(storage: RedisStorage[Any], namespace: str, raw: RedisCluster) -> None:
    assert not storage.capabilities.atomic_batch
    assert RedisStorage.capabilities.atomic_batch
    await storage.write_many({f"chat:{number}": number for number in range(200)})
    assert await storage.read_many(f"chat:{number}" for number in range(0, 200, 7)) == {
        f"chat:{number}": number for number in range(0, 200, 7)
    }
    assert 0 < await raw.pttl(f"{namespace}:chat:7") <= 60_000
    await raw.delete(f"{namespace}:chat:7")
    await raw.rpush(f"{namespace}:chat:7", "a list")
    with pytest.raises(CorruptValueError):
        await storage.read_many(f"chat:{number}" for number in range(200))


async def test_conditional_changes_hold_on_every_node_also_when_scripts_are_forgotten(
    storage: RedisStorage[Any], raw: RedisCluster
) -> None:
    keys = [f"chat:{number}" for number in range(12)]
    versions = await asyncio.gather(*(storage.write_versioned(key, 1, None) for key in keys))
    for number in (2, 3):
        await raw.script_flush()
        versions = await asyncio.gather(
            *(storage.write_versioned(key, number, version) for key, version in zip(keys, versions, strict=True))
        )
    results = await asyncio.gather(
        *(storage.write_versioned("chat:1", winner, versions[1]) for winner in range(100, 120)), return_exceptions=True
    )
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, ConflictError) for result in results) == 19
    await storage.delete_versioned("chat:2", versions[2])
    assert not await storage.touch("chat:2")
    assert await storage.touch("chat:3")


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nodes that requests go to, as they do."""
    noted: list[str] = []
    single, several = ClusterNode.execute_command, ClusterNode.execute_pipeline

    async def execute_command(self: ClusterNode, *command: Any, **options: Any) -> Any:
        noted.append(self.name)
        return await single(self, *command, **options)

    async def execute_pipeline(self: ClusterNode, commands: Any) -> bool:
        noted.append(self.name)
        return await several(self, commands)

    monkeypatch.setattr(ClusterNode, "execute_command", execute_command)
    monkeypatch.setattr(ClusterNode, "execute_pipeline", execute_pipeline)
    return noted


async def test_a_group_is_loaded_and_saved_in_one_request_to_each_node(
    storage: RedisStorage[Any], requests: list[str]
) -> None:
    assert not isinstance(storage, Transactional)
    keys = {f"part{number}": f"chat:{number}" for number in range(12)}
    group = SessionGroup(**{name: Sessions(storage, initial=lambda: {"n": 0}, lock=False) for name in keys})
    for number in (1, 2):
        requests.clear()
        async with group.open(keys) as parts:
            assert len(requests) == len(set(requests)) == 3
            for name in keys:
                parts[name].data["n"] += 1
            requests.clear()
        if number == 2:  # at first, the nodes may not know the script
            assert len(requests) == len(set(requests)) == 3
    assert await storage.read_many(keys.values()) == {key: {"n": 2} for key in keys.values()}

    async with group.open(keys) as parts:
        for name in keys:
            parts[name].data["n"] = 3
        await storage.write("chat:7", {"n": 2, "theirs": 1})
    assert await storage.read_many(keys.values()) == {
        key: {"n": 3, "theirs": 1} if key == "chat:7" else {"n": 3} for key in keys.values()
    }


async def test_several_are_changed_at_their_versions_also_when_scripts_are_forgotten(
    storage: RedisStorage[Any], raw: RedisCluster
) -> None:
    keys = [f"chat:{number}" for number in range(30)]
    versions: dict[str, str] = {}
    for number in (1, 2, 3):
        await raw.script_flush()
        wrong = keys[number]
        changes = {key: Change(number, "another" if key == wrong else versions.get(key)) for key in keys}
        done = await storage.write_records(changes)
        assert set(done) == {*keys} - {wrong}
        versions |= done
        if wrong not in versions:
            versions[wrong] = await storage.write_versioned(wrong, number, None)
    gone = await storage.write_records({key: Change(None, versions[key]) for key in keys})
    assert gone == dict.fromkeys(keys, "")


@pytest.mark.parametrize(
    "options",
    [{"decode_responses": True}, {"protocol": 3}, {"load_balancing_strategy": LoadBalancingStrategy.ROUND_ROBIN}],
    ids=str,
)
async def test_a_client_works_with_any_options_and_stays_open(
    redis_cluster_url: str, namespace: str, options: dict[str, Any]
) -> None:
    async with RedisCluster.from_url(redis_cluster_url, **options) as client:
        async with RedisStorage[Any](client, namespace=namespace) as storage:
            version = None
            for number in range(30):  # each is read at once, and so never from a replica
                await storage.write(f"chat:{number}", "Zoë 🍕")
                assert await storage.read(f"chat:{number}") == "Zoë 🍕"
                version = await storage.write_versioned("chat:ü", number, version)
                assert await storage.read_versioned("chat:ü") == (number, version)
            assert len([key async for key in storage.keys("chat:1")]) == 11
        assert await client.ping()


async def test_the_rights_that_the_schema_names_are_enough(
    url: str, namespace: str, raw: RedisCluster, wait_replicas: int
) -> None:
    url = f"{url}?wait_replicas={wait_replicas}"
    rules = RedisStorage[Any](url, namespace=namespace).schema().replace(" satchel ", f" {namespace} ")
    await raw.execute_command(*shlex.split(rules), target_nodes=raw.get_nodes())
    try:
        async with RedisStorage[Any](url.replace("//", f"//{namespace}:PASSWORD@"), namespace=namespace) as storage:
            version = await storage.write_versioned("chat:1", 1, None)
            version = await storage.write_versioned("chat:1", 2, version)
            await storage.write_many({"chat:2": 2, "chat:3": 3})
            assert await storage.touch("chat:1")
            assert await storage.read_many(["chat:1", "chat:2"]) == {"chat:1": 2, "chat:2": 2}
            assert sorted([key async for key in storage.keys()]) == ["chat:1", "chat:2", "chat:3"]
            await storage.delete_versioned("chat:1", version)
    finally:
        await raw.execute_command("ACL DELUSER", namespace, target_nodes=raw.get_nodes())


async def test_it_follows_a_slot_that_moves_to_another_node(
    storage: RedisStorage[Any], namespace: str, raw: RedisCluster
) -> None:
    slot = raw.keyslot(f"{namespace}:chat:1")
    version = await storage.write_versioned("chat:1", 1, None)
    source = raw.get_node_from_key(f"{namespace}:chat:1")
    assert source is not None
    target = next(node for node in raw.get_primaries() if node != source)
    old, new = [str_if_bytes(await raw.cluster_myid(node)) for node in (source, target)]
    await raw.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", old, target_nodes=target)
    await raw.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", new, target_nodes=source)
    names = await raw.execute_command("CLUSTER GETKEYSINSLOT", slot, 100, target_nodes=source)
    await raw.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *names, target_nodes=source)
    # Half-way, the old node sends those who ask for it on to the new one, also over several connections.
    assert await asyncio.gather(*(storage.read("chat:1") for _ in range(12))) == [1] * 12
    assert await storage.read("chat:1") == 1
    assert await storage.read_records(["chat:1"]) == {"chat:1": (1, version)}
    versions = await storage.write_records({f"chat:{number}": Change(number, None) for number in range(9)})
    assert sorted(versions) == [f"chat:{number}" for number in range(9) if number != 1]
    version = (await storage.write_records({"chat:1": Change(2, version)}))["chat:1"]
    for node in (target, source):
        await raw.execute_command("CLUSTER SETSLOT", slot, "NODE", new, target_nodes=node)
    version = (await storage.write_records({"chat:1": Change(2, version), "chat:2": Change(9, None)}))["chat:1"]
    assert await storage.read("chat:1") == 2
    version = await storage.write_versioned("chat:1", 3, version)
    with pytest.raises(ConflictError):
        await storage.write_versioned("chat:1", 4, "another version")
    await storage.delete_versioned("chat:1", version)


class Moving:
    """Moves the slot of a name, with all that is in it, between the two nodes of a Cluster."""

    def __init__(self, raw: RedisCluster, name: str) -> None:
        self._raw = raw
        self._slot = raw.keyslot(name)

    async def __aenter__(self) -> Self:
        first = self._raw.get_default_node()
        nodes = await self._raw.execute_command("CLUSTER NODES", target_nodes=first)
        self._ids = {name: node["node_id"] for name, node in nodes.items()}
        both = [ClusterNode(*name.split(":")) for name in nodes]
        self._source, self._target = sorted(both, key=lambda node: node != first)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # else there may be keys in the slot, and the error would hide the one that says why
            await self.end(self._source)
        for node in (self._source, self._target):
            await node.disconnect()

    async def begin(self) -> None:
        source, target = self._source, self._target
        await target.execute_command("CLUSTER SETSLOT", self._slot, "IMPORTING", self._ids[source.name])
        await source.execute_command("CLUSTER SETSLOT", self._slot, "MIGRATING", self._ids[target.name])

    async def copy(self) -> None:
        source, target = self._source, self._target
        while names := await source.execute_command("CLUSTER GETKEYSINSLOT", self._slot, 500):
            await source.execute_command("MIGRATE", target.host, target.port, "", 0, 5000, "KEYS", *names)

    async def end(self, at: ClusterNode | None = None) -> None:
        for node in (self._target, self._source):
            await node.execute_command("CLUSTER SETSLOT", self._slot, "NODE", self._ids[(at or self._target).name])

    async def whole(self) -> None:
        for step in (self.begin, self.copy, self.end):
            await step()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_a_listing_finds_what_moved_to_a_node_that_the_client_has_not_heard_of(
    redis_two_nodes_url: str, namespace: str, when: str
) -> None:
    keys = [f"chat:{number}" for number in range(900)] + [f"{{moved}}:{number}" for number in range(300)]
    async with (
        RedisCluster.from_url(redis_two_nodes_url) as raw,
        RedisCluster.from_url(redis_two_nodes_url) as client,
        RedisStorage[Any](client, namespace=namespace) as storage,
    ):
        await storage.write_many(dict.fromkeys(keys, 1))
        async with Moving(raw, "{moved}") as moving:
            listing = storage.keys()
            if when == "before":
                await moving.whole()
            found = [await anext(listing)]
            if when == "meanwhile":
                await moving.whole()
            found += [key async for key in listing]
            assert sorted(found) == sorted(keys)
            async with asyncio.timeout(30):
                while True:
                    with suppress(StorageUnavailableError):  # where the client closes connections to map slots anew
                        await storage.delete_many(keys)
                        break


async def test_after_a_failover_a_client_that_reads_from_replicas_finds_the_new_primary(
    redis_cluster_url: str, namespace: str, raw: RedisCluster, wait_replicas: int
) -> None:
    """The old one runs scripts for it, up to the first write in them."""
    key = f"{namespace}:chat:1"
    async with asyncio.timeout(30):
        while len(raw.nodes_manager.slots_cache[raw.keyslot(key)]) < 2:  # the nodes have yet to tell each other
            await raw.nodes_manager.initialize()
    old, new = raw.nodes_manager.slots_cache[raw.keyslot(key)][:2]
    options: dict[str, Any] = {"load_balancing_strategy": LoadBalancingStrategy.ROUND_ROBIN}
    async with (
        RedisCluster.from_url(redis_cluster_url, **options) as client,
        RedisStorage[Any](client, namespace=namespace, wait_replicas=wait_replicas) as storage,
    ):
        version = await storage.write_versioned("chat:1", 1, None)
        async with asyncio.timeout(30):
            await follows(new, old)
            await new.execute_command("CLUSTER FAILOVER TAKEOVER")
            await follows(old, new)
            with pytest.raises(StorageUnavailableError, match="is a replica"):
                await storage.write_versioned("chat:1", 2, version)
        version = await storage.write_versioned("chat:1", 2, version)
        await storage.write_records({"chat:1": Change(3, version)})


async def follows(replica: ClusterNode, primary: ClusterNode) -> None:
    """Wait until one node is the replica of another, and has all that it has."""
    while True:
        role = await replica.execute_command("ROLE")
        if str_if_bytes(role[0]) == "slave" and role[2] == primary.port and str_if_bytes(role[3]) == "connected":
            return
        await asyncio.sleep(0.02)


async def test_calls_that_are_cancelled_mix_no_answers(url: str, namespace: str, wait_replicas: int) -> None:
    chance = random.Random(7)
    keys = [f"chat:{number}" for number in range(30)]
    async with RedisStorage[Any](url, namespace=namespace, max_connections=8, wait_replicas=wait_replicas) as storage:
        await storage.write_many({key: key for key in keys})

        async def use(key: str) -> None:
            for _ in range(4):
                assert await storage.read(key) == key
                await storage.write_versioned(key, key, storage.version_of(f'"{key}"'.encode()))

        async def give_up(key: str) -> None:
            task = asyncio.ensure_future(use(key))
            for _ in range(chance.randrange(60)):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None

        for _ in range(5):
            await asyncio.gather(*(give_up(key) for key in keys))
        assert await storage.read_many(keys) == {key: key for key in keys}


async def test_connections_that_a_node_closed_cost_at_most_one_failed_change(
    url: str, namespace: str, raw: RedisCluster, wait_replicas: int
) -> None:
    full = f"{url}?client_name={namespace}&wait_replicas={wait_replicas}"
    async with RedisStorage[Any](full, namespace=namespace) as storage:
        await asyncio.gather(*(storage.write(f"chat:{number}", 1) for number in range(60)))
        node = raw.get_node_from_key(f"{namespace}:chat:1")
        clients = await raw.client_list(target_nodes=node)
        killed = [each for each in clients if each["name"] == namespace]
        assert killed
        for each in killed:
            await raw.execute_command("CLIENT KILL", "ID", each["id"], target_nodes=node)
        assert await storage.read("chat:1") == 1
        failed = 0
        for number in range(60):
            try:
                await storage.write(f"chat:{number}", 2)
            except StorageUnavailableError:
                failed += 1
        assert failed <= 1


async def test_a_connection_that_broke_before_anything_was_sent_is_a_lost_one(
    redis_cluster_url: str, namespace: str, wait_replicas: int
) -> None:
    async with (
        RedisCluster.from_url(redis_cluster_url) as client,
        RedisStorage[Any](client, namespace=namespace, wait_replicas=wait_replicas) as storage,
    ):

        async def break_all() -> None:
            for node in client.get_nodes():
                for connection in node._connections:
                    if connection._writer is not None:
                        connection._writer.transport.abort()
            await asyncio.sleep(0)

        await storage.write("chat:1", 1)
        await break_all()
        assert await storage.read("chat:1") == 1
        await break_all()
        with suppress(StorageUnavailableError):
            await storage.write("chat:1", 1)
        await storage.write("chat:1", 2)
        assert await storage.read("chat:1") == 2


async def test_a_change_that_too_few_replicas_confirm_raises_and_says_so(url: str, namespace: str) -> None:
    timeout = timedelta(seconds=1)
    async with (
        RedisStorage[Any](url, namespace=namespace) as other,
        RedisStorage[Any](url, namespace=namespace, timeout=timeout, wait_replicas=2) as storage,
    ):
        with pytest.raises(StorageUnavailableError, match="a change was made, but 1 of 2 replicas confirmed it"):
            await storage.write_versioned("chat:1", 1, None)
        record = await storage.read_versioned("chat:1")
        assert record is not None
        assert record.value == 1
        with pytest.raises(ConflictError):  # nothing was changed, so there is nothing to confirm
            await storage.write_versioned("chat:1", 2, "another version")
        assert await storage.write_records({"chat:1": Change(2, "another version")}) == {}
        with pytest.raises(StorageUnavailableError, match="a change was made, but 1 of 2 replicas confirmed it"):
            await storage.write_records({"chat:2": Change(1, None)})
        await other.write_versioned("chat:1", 3, record.version)


async def test_a_client_for_one_server_is_told_that_it_is_a_cluster(redis_cluster_url: str) -> None:
    async with RedisStorage[Any](redis_cluster_url) as storage:
        with pytest.raises(ConfigurationError, match="is one node of a Cluster: use redis\\+cluster://"):
            for number in range(10):
                await storage.read(f"chat:{number}")


async def test_a_cluster_of_which_no_node_is_there_is_unavailable(free_tcp_port: int) -> None:
    storage = RedisStorage[Any](f"redis+cluster://127.0.0.1:{free_tcp_port},127.0.0.1:{free_tcp_port + 1}")
    with pytest.raises(StorageUnavailableError, match="cannot be reached"):
        await storage.read("chat:1")
    await storage.aclose()


async def test_a_cluster_is_found_through_any_of_its_nodes(url: str, namespace: str, free_tcp_port: int) -> None:
    several = url.replace("//", f"//127.0.0.1:{free_tcp_port},")
    async with RedisStorage[Any](several, namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_a_wrong_password_is_said(url: str) -> None:
    with pytest.raises(ConfigurationError, match="does not take the user name and password"):
        async with RedisStorage[Any](url.replace("//", "//nobody:hunter2@")):
            pass
