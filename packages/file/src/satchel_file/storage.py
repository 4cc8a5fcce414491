"""Sessions in files, one for each, in a folder that any number of processes of one machine share."""

import asyncio
import errno
import shlex
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import groupby
from os import PathLike, fspath
from pathlib import Path
from threading import Event
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar, Unpack

from satchel import (
    ANY,
    Capabilities,
    ConfigurationError,
    CorruptValueError,
    EncodedStorage,
    Expected,
    Payload,
    StorageError,
    StorageOptions,
    StorageUnavailableError,
    StorageURL,
    Threads,
)
from satchel.clock import now
from satchel.settling import together
from satchel.storage import V
from satchel.urls import boolean
from satchel_file.files import Files, folder_of

P = ParamSpec("P")
T = TypeVar("T")

_SWEEP_EVERY: Final = 10.0  # seconds between two looks for what has ended that ride along with a write
_LEFT_BEHIND: Final = 3600.0  # seconds, besides the timeout, after which nobody writes a temporary file any more


class FileStorage(EncodedStorage[V]):
    """One file per session, in 256 folders by the digest of its name; written aside, then moved to its place.

    Args:
        path: the folder; it is created if the one that it is in exists.
        fsync: True keeps an acknowledged write through a power cut, False through a crash of the process, and is
            several times faster.
        threads: how many calls are at the disk at once; others wait. 8 by default.
        options: see `satchel.StorageOptions`.
    """

    capabilities = Capabilities(
        versioned=True,
        conditional_delete=True,
        expiring=True,
        ttl_resolution=timedelta(milliseconds=1),
        listing=True,
        batch=True,
        versioned_batch=True,
        durable=True,
    )

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        fsync: bool = True,
        threads: int = 8,
        **options: Unpack[StorageOptions[V]],
    ) -> None:
        text = fspath(path)
        if not isinstance(text, str) or not text or "\0" in text:
            raise ConfigurationError(f"{text!r} is no folder for sessions")
        if not isinstance(fsync, bool):
            raise ConfigurationError(f"fsync is {fsync!r}; it is True or False")
        super().__init__(where=f"file:///{text}", **options)
        self._path = Path(text).absolute()
        self._files = Files(self._path, self.where, fsync=fsync, version_of=self.version_of)
        self._threads = Threads(threads, "satchel-file", option="threads")
        self._swept = time.monotonic()
        self._swept_to = ""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open `file:///relative/folder` or `file:////absolute/folder`; the query may say `fsync=false&threads=4`."""
        parsed = StorageURL(url)
        if parsed.host or parsed.path in ("", "/"):
            raise ConfigurationError("a file URL is file:///relative/folder or file:////absolute/folder")
        own = {"fsync": parsed.take("fsync", boolean), "threads": parsed.take("threads", int)}
        options = {name: value for name, value in own.items() if value is not None} | options
        return cls(parsed.path[1:], **parsed.options(options))

    async def open(self) -> None:
        """Look at the folder, or create it."""
        await self._threads.run(self._prepare)

    async def close(self) -> None:
        """End the threads."""
        self._threads.close()

    async def get(self, name: str) -> Payload | None:
        """Read one file."""
        stored = await self._threads.run(self._files.find, name)
        return None if stored is None else stored.payload

    async def get_versioned(self, name: str) -> tuple[Payload, str] | None:
        """Read one file."""
        stored = await self._threads.run(self._files.find, name)
        return None if stored is None else (stored.payload, stored.version)

    async def put(self, name: str, payload: Payload, expected: Expected = ANY) -> str | None:
        """Write one file, and move it to its place if what is there is what was expected."""
        written = await self._run(self._write, {name: payload}, expected)
        if expected is ANY:
            return ""  # nobody asks for the version
        return self.version_of(payload) if written else None

    async def drop(self, name: str, expected: Expected = ANY) -> bool:
        """Remove one file."""
        return await self._run(self._files.remove, [name], expected)

    async def renew(self, name: str) -> bool:
        """Write the file anew, with a new end."""
        return await self._run(self._renew, name)

    async def purge(self) -> int:
        """Remove the files of what has ended, 500 at a time, and what killed processes left behind."""
        count, files = 0, [""]
        while files := await self._run(self._files.after, files[-1]):
            count += await self._run(self._files.sweep, files)
        await self._threads.run(self._files.tidy, self._left_behind)
        return count

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """Read the headers of 500 files at a time, in the order of their digests."""
        damaged: list[str] = []
        files = [""]
        while files := await self._run(self._files.after, files[-1]):
            names, nameless = await self._threads.run(self._files.names, files, prefix)
            damaged += nameless
            yield names
        if damaged:  # said at the end, so that they keep nobody from the others
            more = f" and {len(damaged) - 1} more" if damaged[1:] else ""
            raise CorruptValueError(f"{self.where} has files that do not tell whose they are: {damaged[0]}{more}")

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Read the files in one visit to a thread."""
        return {name: payload for name, (payload, _) in (await self.get_records(names)).items()}

    async def get_records(self, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        """Read the files in one visit to a thread."""
        return await self._run(self._read_all, names)

    async def put_many(self, payloads: Mapping[str, Payload]) -> None:
        """Write the files of each folder in one visit to a thread, several folders at once."""
        folders = ({name: payloads[name] for name in names} for names in _by_folder(payloads))
        await together(self._run(self._write, some, ANY) for some in folders)

    async def drop_many(self, names: Sequence[str]) -> None:
        """Remove the files of each folder in one visit to a thread, several folders at once."""
        await together(self._run(self._files.remove, some, ANY) for some in _by_folder(names))

    def translate(self, error: Exception) -> StorageError | None:
        """Say what an error number of the system's means (https://man7.org/linux/man-pages/man3/errno.3.html)."""
        if not isinstance(error, OSError):
            return None
        reason, name = error.strerror, error.filename
        match error.errno:
            case None:
                return StorageUnavailableError(f"{self.where} was locked by another process, or slow, for too long")
            case errno.ENOENT:
                return StorageUnavailableError(f"{self.where} is not there any more")
            case errno.ENOSPC | errno.EDQUOT:
                return StorageUnavailableError(f"{self.where} cannot grow: the disk, or the user's part of it, is full")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return ConfigurationError(f"{self.where} is not for this process to read and write: {reason}, {name!r}")
            case errno.ENOTDIR | errno.EISDIR | errno.ELOOP:
                return ConfigurationError(f"{self.where} has a link or a stranger's file at {name!r}: {reason}")
            case errno.ENAMETOOLONG:
                return ConfigurationError(f"{self.where} is too long a name: {reason}")
            case errno.EFBIG:
                return StorageError(f"{self.where} is on a file system, or of a user, that takes no file of this size")
            case _:
                return StorageUnavailableError(f"{self.where} cannot be read or written: {reason}")

    def schema(self) -> str:
        """Return the commands that make the folder which `create=False` expects; the bot's user is to own it."""
        return f"mkdir -m 700 {shlex.quote(str(self._path))}\n"

    async def _run(self, work: Callable[Concatenate[Event, P], T], *arguments: P.args, **_: P.kwargs) -> T:
        """Do something in a thread, which is told if nobody waits for it any more."""
        given_up = Event()
        try:
            return await self._threads.run(work, given_up, *arguments)
        except asyncio.CancelledError:
            given_up.set()
            raise

    # In a thread.

    def _prepare(self) -> None:
        if self._path.is_dir():
            return
        if self._path.exists() or self._path.is_symlink():
            if self._path.is_dir():
                return  # another process was just making it
            raise ConfigurationError(f"{self.where} is not a folder")
        if not self._path.parent.is_dir():
            hint = "an absolute path has four slashes in a URL"
            raise ConfigurationError(f"{self.where}: folder {self._path.parent} does not exist ({hint})")
        if not self.create:
            raise ConfigurationError(f"{self.where} does not exist, and create=False")
        self._files.create()

    def _read_all(self, _: Event, names: Sequence[str]) -> dict[str, tuple[Payload, str]]:
        found = ((name, self._files.find(name)) for name in names)
        return {name: (stored.payload, stored.version) for name, stored in found if stored is not None}

    def _write(self, given_up: Event, payloads: Mapping[str, Payload], expected: Expected) -> bool:
        end = None if self.ttl_ms is None else now() + self.ttl_ms + 1  # now is cut to the millisecond
        written = self._files.write(given_up, payloads, end, expected)
        if time.monotonic() - self._swept > _SWEEP_EVERY:
            self._swept = time.monotonic()
            self._sweep_some(next(iter(payloads)))
        return written

    def _renew(self, given_up: Event, name: str) -> bool:
        while (stored := self._files.find(name)) is not None:
            if self._write(given_up, {name: stored.payload}, stored.version):
                return True
        return False

    def _sweep_some(self, name: str) -> None:
        """Remove what was left behind beside one record, and what has ended of the next files; wait for nobody."""
        impatient = Event()
        impatient.set()
        with suppress(OSError, StorageError):  # the write has been made; purge_expired() says what is wrong
            self._files.tidy(self._left_behind, name)
            if self.ttl is not None:
                files = self._files.after(impatient, self._swept_to)
                self._swept_to = files[-1] if files else ""
                self._files.sweep(impatient, files)

    @property
    def _left_behind(self) -> float:
        return _LEFT_BEHIND + self.timeout.total_seconds()


def _by_folder(names: Iterable[str]) -> Iterator[list[str]]:
    for _, some in groupby(sorted(names, key=folder_of), key=folder_of):
        yield list(some)
