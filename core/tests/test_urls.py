"""`open_storage`: schemes, options, and what is wrong with a URL in one line."""

from datetime import timedelta
from typing import Any

import pytest

from satchel import ConfigurationError, MemoryStorage, StorageURL, open_storage


async def test_the_scheme_finds_the_storage_and_the_query_its_options() -> None:
    storage = open_storage("memory://?max_size=2&ttl=500ms&namespace=bot&timeout=3s")
    assert isinstance(storage, MemoryStorage)
    assert storage.ttl == timedelta(milliseconds=500)
    assert storage.timeout == timedelta(seconds=3)


async def test_arguments_win_over_the_query() -> None:
    storage = open_storage("memory://?ttl=30d", ttl=timedelta(hours=1))
    assert isinstance(storage, MemoryStorage)
    assert storage.ttl == timedelta(hours=1)


@pytest.mark.parametrize(("url", "package"), [("mongodb://host/db", "mongodb"), ("s3://bucket", "s3")])
def test_a_scheme_that_is_not_installed_names_the_package_that_has_it(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("satchel.urls.GROUP", "satchel.nothing")  # as if no adapter were installed

    with pytest.raises(ConfigurationError, match=rf"no storage is installed for .* \(pip install satchel-{package}\)"):
        open_storage(url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense://x", "no storage is installed for nonsense:// (known here: "),
        ("bot.db", "starts with its scheme"),
        ("", "starts with its scheme"),
        ("memory:", "starts with its scheme"),
        ("memory://?colour=red", "memory:// has no option colour"),
        ("memory://?ttl=soon", "option ttl is not a duration such as 30d"),
        ("memory://?ttl=0s", "ttl is 0:00:00; it has to be positive"),
        ("memory://?ttl=99999999999999d", "option ttl is not a duration"),
        ("memory://?max_size=many", "option max_size is not an integer"),
        ("memory://?create=maybe", "option create is not true or false"),
        ("memory://?namespace=", "namespace '' is not a string of 1 to 128"),
        ("redis://host:port/0", "malformed"),
        ("redis://host:99999/0", "malformed"),
        ("redis://[::1/0", "malformed"),
        (42, "a storage URL is a string, not int"),
    ],
)
def test_a_wrong_url_is_refused_in_one_clear_line(url: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_storage(url)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_malformed_url_does_not_show_its_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_storage("redis://user:hunter2@host:hunter2/0")
    assert "hunter2" not in str(caught.value)


def test_parts_are_decoded() -> None:
    url = StorageURL("redis://us%40er:p%2Fw@[::1]:6380/a%20b?x=1&ttl=2h")
    assert (url.scheme, url.host, url.port, url.username, url.password, url.path) == (
        "redis",
        "::1",
        6380,
        "us@er",
        "p/w",
        "/a b",
    )
    assert url.take("ttl", str) == "2h"
    assert url.rest() == "redis://us%40er:p%2Fw@[::1]:6380/a%20b?x=1"


def test_what_the_driver_is_to_read_is_left_in_the_query() -> None:
    url = StorageURL("mongodb://a,b/db?ttl=2h&retryWrites=true&namespace=bot&create=no&w=majority")
    assert url.common({"namespace": "mine"}) == {"ttl": timedelta(hours=2), "namespace": "mine", "create": False}
    assert url.rest() == "mongodb://a,b/db?retryWrites=true&w=majority"
