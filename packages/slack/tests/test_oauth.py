"""Apps are installed, find their tokens again, and are uninstalled."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from slack_bolt import App, BoltRequest, Say
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest, AsyncSay
from slack_bolt.oauth.async_oauth_settings import AsyncOAuthSettings
from slack_bolt.oauth.oauth_settings import OAuthSettings
from slack_sdk import WebClient
from slack_sdk.oauth.installation_store import Bot, Installation
from slack_sdk.web.async_client import AsyncWebClient

from satchel import ConfigurationError, MemoryStorage, StorageUnavailableError, blocking, open_storage
from satchel import Storage as AsyncStorage
from satchel_slack import (
    AsyncSatchelInstallationStore,
    AsyncSatchelOAuthStateStore,
    SatchelInstallationStore,
    SatchelOAuthStateStore,
)

PROGRAM = Path(__file__).with_name("consumer.py")
OPTIONS: dict[str, Any] = {"client_id": "1.2", "client_secret": "secret", "scopes": ["chat:write"]}
TEAM: dict[str, Any] = {"enterprise_id": None, "team_id": "T1"}
Signed = Callable[..., dict[str, Any]]


@pytest.fixture
def storage(url: str, namespace: str) -> Iterator[blocking.Storage[Any]]:
    with blocking.open_storage(url, namespace=namespace) as opened:
        yield opened


@pytest.fixture
async def async_storage(url: str, namespace: str) -> AsyncIterator[AsyncStorage[Any]]:
    async with open_storage(url, namespace=namespace) as opened:
        yield opened


def installation(user: str, **fields: Any) -> Installation:
    given = {"bot_token": f"xoxb-{user}", "bot_id": "B1", "bot_user_id": "UB", "bot_scopes": ("a", "b")}
    return Installation(**{"team_id": "T1", "user_id": user, "user_token": f"xoxp-{user}", **given, **fields})


def callback(response: Any, code: str) -> dict[str, Any]:
    """Return the request with which a browser comes back from Slack's page."""
    (state,) = parse_qs(urlsplit(response.headers["location"][0]).query)["state"]
    return {
        "body": "",
        "query": {"code": code, "state": state},
        "headers": {"cookie": [response.headers["set-cookie"][0].split(";")[0]]},
    }


def test_an_app_is_installed_once_for_each_state_and_finds_its_token(
    storage: blocking.Storage[Any], web_api: Any, signed: Signed
) -> None:
    settings = OAuthSettings(
        **OPTIONS,
        installation_store=SatchelInstallationStore(storage, client_id="1.2"),
        state_store=SatchelOAuthStateStore(storage),
        install_page_rendering_enabled=False,
    )
    client = WebClient(base_url=web_api.url)
    app = App(client=client, signing_secret="signing secret", oauth_settings=settings, process_before_response=True)
    flow = app.oauth_flow
    assert flow is not None

    @app.message("pizza")
    def order(say: Say) -> None:
        say("one pizza")

    back = callback(flow.handle_installation(BoltRequest(body="")), "1")
    assert flow.handle_callback(BoltRequest(**back)).status == 200
    assert flow.handle_callback(BoltRequest(**back)).status == 401  # the state is consumed
    assert app.dispatch(BoltRequest(**signed("pizza"))).status == 200
    assert web_api.tokens == ["xoxb-1"]
    app.dispatch(BoltRequest(**signed("pizza", team="T9")))
    assert web_api.tokens == ["xoxb-1"]


@pytest.mark.filterwarnings("ignore:BasicAuth is deprecated:DeprecationWarning")  # which slack_sdk calls
async def test_an_async_app_is_installed_and_finds_its_token(
    async_storage: AsyncStorage[Any], web_api: Any, signed: Signed
) -> None:
    settings = AsyncOAuthSettings(
        **OPTIONS,
        installation_store=AsyncSatchelInstallationStore(async_storage),
        state_store=AsyncSatchelOAuthStateStore(async_storage),
        install_page_rendering_enabled=False,
    )
    client = AsyncWebClient(base_url=web_api.url)
    app = AsyncApp(
        client=client, signing_secret="signing secret", oauth_settings=settings, process_before_response=True
    )
    flow = app.oauth_flow
    assert flow is not None

    @app.message("pizza")
    async def order(say: AsyncSay) -> None:
        await say("one pizza")

    back = callback(await flow.handle_installation(AsyncBoltRequest(body="")), "1")
    assert (await flow.handle_callback(AsyncBoltRequest(**back))).status == 200
    assert (await flow.handle_callback(AsyncBoltRequest(**back))).status == 401
    assert (await app.async_dispatch(AsyncBoltRequest(**signed("pizza")))).status == 200
    assert web_api.tokens == ["xoxb-1"]


def test_an_installation_comes_back_as_it_was_saved(storage: blocking.Storage[Any]) -> None:
    store = SatchelInstallationStore(storage)
    saved = installation("U1", custom_values={"plan": "pro"}, user_token_expires_in=3600, is_enterprise_install=False)
    store.save(saved)
    found = store.find_installation(**TEAM)
    assert found is not None
    assert vars(found) == vars(saved) | {"bot_scopes": ["a", "b"]}
    bot = store.find_bot(**TEAM)
    assert bot is not None
    assert bot.bot_token == "xoxb-U1"
    assert store.find_installation(enterprise_id="E1", team_id="T1") is None
    assert SatchelInstallationStore(storage, client_id="other").find_bot(**TEAM) is None


def test_with_a_users_installation_comes_todays_bot_token(storage: blocking.Storage[Any]) -> None:
    store = SatchelInstallationStore(storage)
    store.save(installation("U1"))
    store.save(installation("U2"))
    store.save(installation("U3", bot_token=None))  # which leaves the bot as it is
    store.save_bot(Bot(team_id="T1", bot_token="xoxb-rotated", bot_id="B1", bot_user_id="UB", installed_at=9.0))
    tokens = []
    for user in ("U1", "U2", None):
        found = store.find_installation(**TEAM, user_id=user)
        assert found is not None
        tokens.append((found.user_token, found.bot_token))
    assert tokens == [("xoxp-U1", "xoxb-rotated"), ("xoxp-U2", "xoxb-rotated"), ("xoxp-U3", "xoxb-rotated")]


def test_an_installation_of_an_organization_is_found_from_each_of_its_teams(storage: blocking.Storage[Any]) -> None:
    store = SatchelInstallationStore(storage)
    store.save(installation("U1", enterprise_id="E1", team_id=None, is_enterprise_install=True))
    which: dict[str, Any] = {"enterprise_id": "E1", "team_id": "T7", "is_enterprise_install": True}
    assert store.find_bot(**which) is not None
    assert store.find_installation(**which) is not None


def test_when_a_user_goes_the_one_before_becomes_the_latest(storage: blocking.Storage[Any]) -> None:
    store = SatchelInstallationStore(storage)
    for number, user in enumerate(("U1", "U2", "U3")):
        store.save(installation(user, installed_at=1000.0 + number))
    latest = []
    for gone in ("U1", "U3", "U2"):
        store.delete_installation(**TEAM, user_id=gone)
        assert store.find_installation(**TEAM, user_id=gone) is None
        found = store.find_installation(**TEAM)
        latest.append(found and found.user_id)
    assert latest == ["U3", "U2", None]
    assert store.find_bot(**TEAM) is not None


def test_deleting_all_removes_one_workspace_and_leaves_the_others(storage: blocking.Storage[Any]) -> None:
    store = SatchelInstallationStore(storage)
    for team in ("T1", "T11"):
        for user in ("U1", "U2"):
            store.save(installation(user, team_id=team))
    store.delete_all(**TEAM)
    assert store.find_bot(**TEAM) is None
    assert store.find_installation(**TEAM) is None
    assert store.find_installation(**TEAM, user_id="U1") is None
    assert store.find_installation(enterprise_id=None, team_id="T11", user_id="U1") is not None
    assert all(":T11:" in key for key in storage.keys())


def test_an_outage_is_not_an_app_that_is_not_installed() -> None:
    store = SatchelInstallationStore(blocking.open_storage("redis://127.0.0.1:1"))
    with pytest.raises(StorageUnavailableError):
        store.find_bot(**TEAM)


def test_a_storage_that_cannot_list_is_refused() -> None:
    class Unlisted:
        async def read(self, key: str) -> Any: ...
        async def write(self, key: str, value: Any) -> None: ...
        async def delete(self, key: str) -> None: ...

    with pytest.raises(ConfigurationError, match="cannot list"):
        AsyncSatchelInstallationStore(Unlisted())


@pytest.mark.parametrize("kind", [AsyncSatchelInstallationStore, AsyncSatchelOAuthStateStore])
def test_a_blocking_storage_is_refused_by_what_is_asynchronous(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match="is for blocking callers"):
        kind(blocking.open_storage("memory://"))


@pytest.mark.parametrize("kind", [SatchelInstallationStore, SatchelOAuthStateStore])
def test_an_asynchronous_storage_is_refused_by_what_blocks(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"take a storage of satchel\.blocking, not MemoryStorage"):
        kind(MemoryStorage())


async def test_of_many_that_consume_a_state_at_once_one_is_told_that_it_is_valid(
    async_storage: AsyncStorage[Any],
) -> None:
    store = AsyncSatchelOAuthStateStore(async_storage)
    state = await store.async_issue()
    # Each has its own lock, so none of this process stands between them.
    others = [AsyncSatchelOAuthStateStore(async_storage) for _ in range(15)]
    assert sorted(await asyncio.gather(*(other.async_consume(state) for other in others))) == [False] * 14 + [True]


def test_threads_consume_a_state_once(storage: blocking.Storage[Any]) -> None:
    store = SatchelOAuthStateStore(storage)
    state = store.issue()
    valid: list[bool] = []
    threads = [threading.Thread(target=lambda: valid.append(store.consume(state))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(valid) == [False] * 7 + [True]


@pytest.mark.parametrize("url", ["sqlite", "redis"], indirect=True)
def test_processes_consume_each_state_once(url: str, namespace: str) -> None:
    with blocking.open_storage(url, namespace=namespace) as storage:
        store = SatchelOAuthStateStore(storage)
        states = [store.issue() for _ in range(50)]
        program = [sys.executable, str(PROGRAM), url, namespace]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            other.stdout.readline()
            assert other.stdin is not None
            other.stdin.write(" ".join(states) + "\n")
            other.stdin.flush()
            here = [state for state in states if store.consume(state)]
            there = other.stdout.read().split()
    assert sorted(here + there) == sorted(states)


async def test_a_state_ends_and_what_was_never_issued_is_not_valid() -> None:
    store = AsyncSatchelOAuthStateStore(MemoryStorage(), expiration=timedelta(milliseconds=10))
    state = await store.async_issue()
    await asyncio.sleep(0.02)
    assert await store.async_consume(state) is False
    for strange in ("", "x" * 10_000, "\ud800", "slack:state:*"):
        assert await store.async_consume(strange) is False
    with pytest.raises(ConfigurationError, match="expiration"):
        AsyncSatchelOAuthStateStore(MemoryStorage(), expiration=timedelta(0))


async def test_the_state_itself_is_not_stored() -> None:
    storage = MemoryStorage[Any]()
    state = await AsyncSatchelOAuthStateStore(storage).async_issue()
    keys = [key async for key in storage.keys()]
    assert len(keys) == 1
    assert state not in keys[0]
