"""Firestore as it is in the cloud: behind TLS, for those with a token, and with rules."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from satchel import ConfigurationError, StorageError, StorageUnavailableError, open_storage
from satchel_firestore import FirestoreStorage

from .conftest import AUTHORITY, Front, Tokens, in_front, token_of_a_user


async def test_the_credentials_and_the_project_of_the_environment_are_used(
    front: Front, tokens: Tokens, namespace: str, firestore_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    async with open_storage(f"firestore:///sessions?endpoint={front.address}", namespace=namespace) as storage:
        await storage.write("chat:1", {"pizza": 1})
        assert await storage.read("chat:1") == {"pizza": 1}
        assert repr(storage) == "<FirestoreStorage firestore://satchel-test/sessions>"
    assert tokens.asked == 1
    async with open_storage(firestore_url, namespace=namespace) as storage:
        assert await storage.read("chat:1") == {"pizza": 1}


async def test_an_endpoint_is_asked_even_if_the_environment_names_an_emulator(
    front: Front, tokens: Tokens, namespace: str, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{free_tcp_port}")
    async with open_storage(f"firestore://satchel-test/s?endpoint={front.address}", namespace=namespace) as storage:
        assert await storage.read("chat:1") is None


async def test_denied_rights_are_said_and_are_never_missing_sessions(
    front: Front, tokens: Tokens, namespace: str, forbidden: str, emulator: str
) -> None:
    async with open_storage(f"firestore://{forbidden}/s?emulator={emulator}", namespace=namespace) as owner:
        await owner.write("chat:1", 1)
    tokens.answer["access_token"] = token_of_a_user(forbidden)
    storage = FirestoreStorage[Any](f"firestore://{forbidden}/s?endpoint={front.address}", namespace=namespace)
    calls: list[Callable[[], Awaitable[Any]]] = [
        storage.setup,
        lambda: storage.read("chat:1"),
        lambda: storage.read_versioned("chat:1"),
        lambda: storage.read_many(["chat:1"]),
        lambda: storage.write("chat:1", 2),
        lambda: storage.write_versioned("chat:1", 2, None),
        lambda: storage.write_versioned("chat:1", 2, "2026-01-02T03:04:05.678901+00:00"),
        lambda: storage.write_many({"chat:1": 2}),
        lambda: storage.delete("chat:1"),
        lambda: storage.delete_versioned("chat:1", "2026-01-02T03:04:05.678901+00:00"),
        lambda: storage.touch("chat:1"),
        lambda: anext(aiter(storage.keys())),
    ]
    for opened in (False, True):
        if opened:
            storage._loop = asyncio.get_running_loop()  # as if the rights had been there when it was opened
        for call in calls[opened:]:
            with pytest.raises(ConfigurationError, match="forbids it") as caught:
                await call()
            assert "\n" not in str(caught.value)
    await storage.aclose()
    async with open_storage(f"firestore://{forbidden}/s?emulator={emulator}", namespace=namespace) as owner:
        assert await owner.read("chat:1") == 1


@pytest.fixture
async def untrusted(firestore_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Front]:
    authority, name = request.param
    async with in_front(firestore_url, authority, name) as front:
        yield front


@pytest.mark.parametrize(
    "untrusted", [(trustme.CA(), "localhost"), (AUTHORITY, "example.com")], indirect=True, ids=["issuer", "name"]
)
async def test_a_certificate_of_an_unknown_authority_or_for_another_name_is_refused(
    untrusted: Front, tokens: Tokens
) -> None:
    with pytest.raises(ConfigurationError, match="has no certificate to trust") as caught:
        async with FirestoreStorage[Any](f"firestore://project/s?endpoint={untrusted.address}"):
            pass
    assert "\n" not in str(caught.value)
    assert tokens.asked == 0, "nothing is told to whom one does not trust"


async def test_tls_to_a_server_without_it_and_the_other_way_round_end_in_a_clear_error(
    front: Front, tokens: Tokens, emulator: str
) -> None:
    with pytest.raises(ConfigurationError, match="does not speak TLS"):
        async with FirestoreStorage[Any](f"firestore://project/s?endpoint={emulator}"):
            pass
    with pytest.raises(StorageError, match=r"^firestore://project/s [^\n]*$"):
        async with FirestoreStorage[Any](f"firestore://project/s?emulator={front.address}"):
            pass


async def test_credentials_that_were_revoked_are_said(front: Front, tokens: Tokens) -> None:
    tokens.answer = {"error": "invalid_grant", "error_description": "Account has been deleted"}
    with pytest.raises(ConfigurationError, match="the credentials are not valid any more"):
        async with FirestoreStorage[Any](f"firestore://project/s?endpoint={front.address}"):
            pass


async def test_a_token_that_cannot_be_fetched_for_now_is_an_outage_and_then_all_is_well(
    front: Front, tokens: Tokens, namespace: str
) -> None:
    tokens.hangs_up = True
    storage = FirestoreStorage[Any](f"firestore://project/s?endpoint={front.address}", namespace=namespace)
    with pytest.raises(StorageUnavailableError, match="whoever gives tokens"):
        await storage.read("chat:1")
    tokens.hangs_up = False
    assert await storage.read("chat:1") is None
    await storage.aclose()


@pytest.mark.parametrize("content", [None, "{nonsense", '{"type": "s3cret"}'], ids=["missing", "no JSON", "unknown"])
async def test_a_file_of_credentials_that_is_none_is_said(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "account.json").write_text(content)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    with pytest.raises(ConfigurationError, match=r"cannot be asked: .*account\.json") as caught:
        async with FirestoreStorage[Any]("firestore://project/sessions"):
            pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("emulator", [None, ""], ids=["unset", "empty"])
async def test_no_credentials_are_said_where_no_emulator_is_named(
    emulator: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRESTORE_EMULATOR_HOST", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    if emulator is not None:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # there is no machine of Google's to ask, here
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="cannot be asked: .*credentials were not found"):
        async with FirestoreStorage[Any]("firestore://project/sessions"):
            pass


async def test_credentials_without_a_project_are_said(
    tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    account = tmp_path / "account.json"
    account.write_text(account.read_text().replace('"project_id": "satchel-test"', '"project_id": null'))
    with pytest.raises(ConfigurationError, match="nothing names the project"):
        async with FirestoreStorage[Any]("firestore:///sessions"):
            pass
