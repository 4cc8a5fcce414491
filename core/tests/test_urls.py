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
        ("redis://host:port/0", "malformed: Port is no number from 0 to 65535"),
        ("redis://host:99999/0", "malformed: Port is no number from 0 to 65535"),
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


@pytest.mark.parametrize(
    "rest",
    [
        "bot:12/34@h:1/0",
        "bot:12?34@h:1/0",
        "bot:12#34@h:1/0",
        "bot:hunter2/34@h/0",
        "bot:hunter2?34@h/0",
        "bot:hunter2#34@h/0",
        ":hunter2#34@h/0",
        ":/hunter2@h/0",
        ":?hunter2@h/0",
        ":#hunter2@h/0",
        "bot:hun@ter2/34@h/0",
        "bot:hun@ter2?34@h/0",
        "bot:12/3?hunter2@h/0",
        "bot:12?3/hunter2@h/0",
        "bot:12?3&hunter2@h/0",
        "bot:hunter2?a=b@h/0",
        "bo/t:hunter2@h/0",
        "bo?t:hunter2@h/0",
        "a:1,bot:12/34@h/0",
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "rediss+cluster", "postgresql", "mongodb+srv", "supabase", "grammy+redis"])
def test_a_password_that_is_not_escaped_is_refused_and_nothing_of_it_shown(scheme: str, rest: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StorageURL(f"{scheme}://{rest}")
    assert str(caught.value) == (
        f"{scheme}:// has an '@' behind a '/', '?' or '#': "
        "in a password or a name, write '/', '?', '#' and '@' as %2F, %3F, %23 and %40"
    )
    assert caught.value.__cause__ is None


def test_a_user_name_that_is_not_escaped_is_not_shown_either() -> None:
    with pytest.raises(ConfigurationError) as caught:
        StorageURL("redis://hun#ter2:34@h/0")
    assert "hun" not in str(caught.value)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize("query", ["hunter2=b@h/0", "ttl=1h&hunter2=b@h/0", "hunter2=b&hunter2=c@h/0"])
def test_what_may_be_of_a_password_is_no_option_by_name(query: str) -> None:
    with pytest.raises(ConfigurationError, match="in a password or a name, write") as caught:
        StorageURL(f"redis://bot:12?{query}").options({})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///bots@home.db", "/bots@home.db"),
        ("sqlite:////srv/C:/bots@home.db?note=a@b", "//srv/C:/bots@home.db"),
        ("file:////srv/a:b@c", "//srv/a:b@c"),
        ("grammy+file:////srv/a:b@c", "//srv/a:b@c"),
        ("s3://bucket/p:q@r", "/p:q@r"),
        ("firestore://project/a@b", "/a@b"),
        ("redis+unix:///run/a:b@c.sock", "/run/a:b@c.sock"),
        ("redis://h:6379?note=a@b/c", ""),
        ("redis://bot:p%2Fw@[::1]:6379/0?note=a@b", "/0"),
        ("redis://bot:p@ss@h:6379/0?note=a@b", "/0"),
        ("postgresql://bot@h/my@db", "/my@db"),
        ("postgresql://[::1]/my@db", "/my@db"),
        ("postgresql:///db?user=bot@h&note=p@ss/w:x", "/db"),
        ("mongodb://bot:pw@a:1,b:2/my%40db?note=a@b", "/my@db"),
    ],
)
def test_an_at_sign_may_be_in_a_path_or_an_option(url: str, path: str) -> None:
    assert StorageURL(url).path == path


@pytest.mark.parametrize("rest", ["/my#bot.db?namespace=shop", "/bots#@home.db", "h/0#2", "h/0#", "h/0?ttl=1h#2", "#"])
@pytest.mark.parametrize("scheme", ["sqlite", "redis"])
def test_a_fragment_is_refused(scheme: str, rest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{scheme}:// takes no fragment: write '#' as %23$"):
        StorageURL(f"{scheme}://{rest}")
    assert StorageURL("sqlite:///my%23bot.db?namespace=a%23b").path == "/my#bot.db"


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("namespace=hunter2&namespace=b", "namespace"),
        ("namespace=hunter2&ttl=1h&namespace=hunter2", "namespace"),
        ("ttl=&namespace=a&ttl=&name%73pace=a", "namespace, ttl"),
        ("colour=red&colour=blue&colour=red", "colour"),
    ],
)
def test_an_option_that_is_there_twice_is_named(query: str, names: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^memory:// has option {names} more than once$"):
        open_storage(f"memory://?{query}")


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
