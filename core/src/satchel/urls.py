"""Opening a storage by URL: adapters register their schemes as entry points in the group `satchel.storages`."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from satchel.errors import ConfigurationError
from satchel.storage import Storage

T = TypeVar("T")

GROUP: Final = "satchel.storages"
_PACKAGES: Final = {
    "sqlite": "satchel-sqlite",
    "file": "satchel-file",
    "redis": "satchel-redis",
    "rediss": "satchel-redis",
    "redis+unix": "satchel-redis",
    "redis+cluster": "satchel-redis",
    "rediss+cluster": "satchel-redis",
    "redis+sentinel": "satchel-redis",
    "rediss+sentinel": "satchel-redis",
    "postgres": "satchel-postgres",
    "postgresql": "satchel-postgres",
    "mongodb": "satchel-mongodb",
    "mongodb+srv": "satchel-mongodb",
    "dynamodb": "satchel-dynamodb",
    "s3": "satchel-s3",
    "firestore": "satchel-firestore",
    "supabase": "satchel-supabase",
    "supabase+http": "satchel-supabase",
}  # fmt: skip
_LOG_IN: Final = frozenset(("redis", "rediss", "postgres", "postgresql", "mongodb", "supabase"))
_UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION: Final = re.compile(r"(\d+)(ms|s|m|h|d)")
_IN_BRACKETS: Final = re.compile(r"\[[^]]*\]")


def open_storage(url: str, **options: Any) -> Storage[Any]:
    """Make the storage that `url` names; nothing is connected before it is used.

        async with open_storage("sqlite:///bot.db?ttl=30d") as storage: ...

    Any storage takes `namespace`, `ttl`, `timeout` and `create`, in the URL's query (durations as `30d`, `12h`, `15m`,
    `10s`, `500ms`) or, with `codec`, as arguments, which win. What else a URL may say is in the adapter's README.

    Raises:
        ConfigurationError: the URL is malformed, its scheme is not installed (the message names the package that
            has it), or an option is not known or not right.
    """
    return cast("Storage[Any]", storage_class(url).from_url(url, **options))


def storage_class(url: str) -> Any:
    """Import the adapter that has the URL's scheme, and return its class.

    Raises:
        ConfigurationError: the URL is malformed, or its scheme is not installed (the message names the package that
            has it).
    """
    return _adapter(GROUP, StorageURL(url).scheme)


@cache  # but what is not found is looked for anew: to read what all packages register takes milliseconds
def _adapter(group: str, scheme: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=group)}
    if scheme not in found:
        package = _PACKAGES.get(scheme) or _PACKAGES.get(scheme.removeprefix("grammy+").removeprefix("aiogram+"))
        hint = f"pip install {package}" if package else f"known here: {', '.join(sorted(found))}"
        raise ConfigurationError(f"no storage is installed for {scheme}:// ({hint})")
    return found[scheme].load()


class StorageURL:
    """A storage URL in its parts. An adapter takes what it knows, and hands the rest to `options`, which refuses more.

    Attributes:
        scheme: in lower case.
        hosts: every host, without brackets, with its port or None: `redis+cluster://a:1,b:2` has two.
        host: the first of them; "" where there is none.
        port: the first one's, or None.
        username: decoded, or None.
        password: decoded, or None; never in a message.
        path: decoded, with its leading slash.

    Raises:
        ConfigurationError: it is no URL, its port is no port, a user name or password seems to hold a `/`, `?` or `#`
            that is not escaped, there is a fragment, or an option more than once.
    """

    def __init__(self, url: str) -> None:
        if not isinstance(url, str):
            raise ConfigurationError(f"a storage URL is a string, not {type(url).__name__}")
        try:
            parts = urlsplit(url)
            each = [urlsplit(f"//{host}") for host in parts.netloc.rpartition("@")[2].split(",")]
        except ValueError as error:
            # Of the URL itself nothing is shown: it may hold a password.
            raise ConfigurationError(f"a storage URL is malformed: {_without_quotes(error)}") from None
        if not parts.scheme or not url[len(parts.scheme) :].startswith("://"):
            raise ConfigurationError("a storage URL starts with its scheme, as in sqlite:///bot.db")
        self._parts: SplitResult = parts
        self.scheme = parts.scheme
        if _cuts_login(parts):
            raise self._login_cut()
        try:
            self.hosts = [(host.hostname or "", host.port) for host in each]
        except ValueError:
            if "@" in parts.query:
                raise self._login_cut() from None
            raise ConfigurationError("a storage URL is malformed: Port is no number from 0 to 65535") from None
        if "#" in url:
            raise ConfigurationError(f"{self.scheme}:// takes no fragment: write '#' as %23")
        self.host, self.port = self.hosts[0]
        self.username = None if parts.username is None else unquote(parts.username)
        self.password = None if parts.password is None else unquote(parts.password)
        self.path = unquote(parts.path)
        items = parse_qsl(parts.query, keep_blank_values=True)
        self._query = dict(items)
        names = [name for name, _ in items]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise self.wrong_option(f"{self.scheme}:// has option {', '.join(twice)} more than once")

    def take(self, name: str, convert: Callable[[str], T]) -> T | None:
        """Remove the query item `name` and return it converted, or None if it is not there.

        Raises:
            ConfigurationError: `convert` does not take it.
        """
        if name not in self._query:
            return None
        try:
            return convert(self._query.pop(name))
        except ValueError:
            raise ConfigurationError(f"{self.scheme}:// option {name} is not {_KINDS[convert]}") from None

    def options(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take what every adapter has from the query and put what was `given` as arguments over it.

        Raises:
            ConfigurationError: the query has something that nobody took.
        """
        options = self.common(given)
        if self._query:
            raise self.wrong_option(f"{self.scheme}:// has no option {', '.join(sorted(self._query))}")
        return options

    def common(self, given: dict[str, Any]) -> dict[str, Any]:
        """Do as `options` does, but leave what else there is in the query for the driver: it is in `rest`."""
        common = {
            "namespace": self.take("namespace", str),
            "ttl": self.take("ttl", duration),
            "timeout": self.take("timeout", duration),
            "create": self.take("create", boolean),
        }
        return {name: value for name, value in common.items() if value is not None} | given

    def rest(self) -> str:
        """Return the URL without what was taken from its query; for drivers that read URLs. It may hold a password."""
        query = urlencode(self._query)
        self._query = {}
        return urlunsplit(self._parts._replace(query=query))

    def wrong_option(self, message: str) -> ConfigurationError:
        """Return the error with a message that names options, or another if those may be parts of a password."""
        in_doubt = self._parts.netloc and "@" in self._parts.query
        return self._login_cut() if in_doubt else ConfigurationError(message)

    def _login_cut(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.scheme}:// has an '@' behind a '/', '?' or '#': "
            "in a password or a name, write '/', '?', '#' and '@' as %2F, %3F, %23 and %40"
        )


def duration(text: str) -> timedelta:
    """Return the duration that `30d`, `12h`, `15m`, `10s` or `500ms` says.

    Raises:
        ValueError: it says none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    try:
        return timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError as error:
        raise ValueError(text) from error


def boolean(text: str) -> bool:
    """Return what `true`, `yes`, `1`, `false`, `no` or `0` says.

    Raises:
        ValueError: it says neither.
    """
    try:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
    except KeyError:
        raise ValueError(text) from None


_KINDS: Final[dict[Callable[[str], Any], str]] = {
    int: "an integer",
    duration: "a duration such as 30d, 12h, 15m, 10s or 500ms",
    boolean: "true or false",
}


def _cuts_login(parts: SplitResult) -> bool:
    """Tell whether a user name or password seems to end early, at a `/`, `?` or `#` of its own.

    Messages would show what is before that as a host, and the rest as a path or options. But an `@` may be in a path or
    in an option's value by right.
    """
    if any("@" in item.partition("=")[0] for item in parts.query.split("&")):
        return True
    before, at, _ = (parts.path + parts.fragment).rpartition("@")
    kinds = parts.scheme.split("+")
    login = _IN_BRACKETS.sub("", parts.netloc)
    if not _LOG_IN.isdisjoint(kinds) and "unix" not in kinds:
        login += before  # the user name may be cut, and the password be in the path
    return bool(at) and ":" in login


def _without_quotes(error: ValueError) -> str:
    return str(error).split("'", 1)[0].split(":", 1)[0].strip()
