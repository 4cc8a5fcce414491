"""A storage over what another framework stored: it reads and lists by our keys, and never writes."""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, NoReturn, Self, cast
from urllib.parse import unquote_plus

from satchel.adapter import EncodedStorage, Payload
from satchel.capabilities import Capabilities
from satchel.errors import ConfigurationError, CorruptValueError, InvalidKeyError, ReadOnlyError
from satchel.keys import check_key, show
from satchel.urls import StorageURL


class ForeignStorage(EncodedStorage[Any]):
    """What the storages over others' records share. It stands before an adapter's class, which does the reading.

        class GrammyRedisStorage(Grammy, RedisStorage[Any]): ...

    Of the adapter's hooks `get_many` and `pages` are called, with names as they are at the backend. A framework's
    class says which name has which key, and what is in a record.

    Attributes:
        framework: what the schemes of its URLs start with.
        said_in_urls: the options that a URL may say, with what makes them of text.
        not_here: options of the adapter's that make no sense.
        start: what the names of all records start with.
    """

    capabilities = Capabilities(listing=True, batch=True)
    framework: ClassVar[str]
    said_in_urls: ClassVar[Mapping[str, Callable[[str], Any]]]
    not_here: ClassVar[Sequence[str]] = ("namespace", "ttl", "codec")
    start: str

    def __init__(self, source: Any, **options: Any) -> None:
        for name in self.not_here:
            if name in options:
                raise ConfigurationError(f"{type(self).__name__} takes no {name}: its records are {self.framework}'s")
        cast("Any", super()).__init__(source, **options)  # the adapter's, whose first argument has many names
        self.where = f"{self.framework}+{self.where}"

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open the URL of the adapter's, with the framework's name and a plus sign before it."""
        parsed, adapters = _parted(url, (*cls.said_in_urls, *cls.not_here), cls.framework)
        said = {name: parsed.take(name, convert) for name, convert in cls.said_in_urls.items()}
        said |= {name: parsed.take(name, str) for name in cls.not_here}
        options = {name: value for name, value in said.items() if value is not None} | options
        opened: Self = cast("Any", super()).from_url(adapters, **options)
        return opened

    # What a framework says.

    def names(self, key: str) -> Sequence[str]:
        """Return the names of all that there may be for `key`: none, if no record of theirs has it."""
        raise NotImplementedError

    def key(self, name: str) -> str | None:
        """Return the key of what is stored under a name, or None if it is none of theirs.

        Raises:
            InvalidKeyError: it is theirs, but no key can be made of it.
        """
        raise NotImplementedError

    def value(self, found: Mapping[str, Payload], names: Sequence[str]) -> Any:
        """Return the value of what was found of a record's `names`, or None if it has ended.

        Raises:
            CorruptValueError: the framework did not write that; "'42' in redis://… is " comes before the message.
        """
        raise NotImplementedError

    async def alive(self, names: Sequence[str]) -> Sequence[str]:
        """Return those of the names whose records have not ended. Override it where the backend ends none itself."""
        return names

    # What users call.

    async def read(self, key: str) -> Any:
        return (await self.read_many([key])).get(key)

    async def read_many(self, keys: Iterable[str]) -> dict[str, Any]:
        names = {key: self.names(check_key(key)) for key in keys}
        wanted = list(dict.fromkeys(name for each in names.values() for name in each))
        try:
            found = await self._call(self.get_many, wanted) if wanted else {}
        except CorruptValueError as error:
            if len(names) == 1:
                raise CorruptValueError(f"{show(next(iter(names)))} cannot be read: {error}") from error
            for key in names:
                await self.read(key)  # one of them is to blame
            raise
        values = {key: self._value(key, each, found) for key, each in names.items()}
        return {key: value for key, value in values.items() if value is not None}

    async def keys(self, prefix: str = "") -> AsyncIterator[str]:
        prefix = prefix if prefix == "" else check_key(prefix)
        given: set[str] = set()
        strangers: list[str] = []
        async with aclosing(self.pages(self.start)) as pages:
            while (page := await self._call(anext, pages, None)) is not None:
                for name in await self._call(self.alive, page) if page else ():
                    try:
                        key = self.key(name)
                    except InvalidKeyError:
                        strangers.append(name)
                        continue
                    if key is not None and key.startswith(prefix) and key not in given:
                        given.add(key)
                        yield key
        if strangers:  # said at the end, so that they keep nobody from the others
            more = f" and {len(strangers) - 1} more" if strangers[1:] else ""
            raise CorruptValueError(f"{self.where} has records without a key of ours: {show(strangers[0])}{more}")

    async def _read_only(self, *_: Any, **__: Any) -> NoReturn:
        raise ReadOnlyError(f"{self!r} is read-only: what {self.framework} stored is left as it is")

    write = delete = write_many = delete_many = _read_only
    put = drop = put_many = drop_many = put_records = put_each = renew = purge = _read_only  # whoever may call a hook

    def _value(self, key: str, names: Sequence[str], found: Mapping[str, Payload]) -> Any:
        try:
            return self.value(found, names) if any(name in found for name in names) else None
        except CorruptValueError as error:
            raise CorruptValueError(f"{show(key)} in {self.where} is {error}") from error.__cause__


def _parted(url: str, ours: Iterable[str], framework: str) -> tuple[StorageURL, str]:
    """Return the URL with those items of its query that are ours, and, letter by letter, the adapter's with the rest.

    A driver may read the query in a way of its own, so it is not written anew.
    """
    if not isinstance(url, str) or not url.startswith(f"{framework}+"):
        raise ConfigurationError(
            f"a URL for {framework}'s records starts with {framework}+, as in {framework}+redis://"
        )
    base, _, query = url.partition("?")
    items = query.split("&") if query else []
    taken = [item for item in items if unquote_plus(item.partition("=")[0]) in ours]
    left = [item for item in items if item not in taken]
    adapters = base.removeprefix(f"{framework}+") + (f"?{'&'.join(left)}" if left else "")
    return StorageURL(f"{base}?{'&'.join(taken)}" if taken else base), adapters
