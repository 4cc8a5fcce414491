"""The sessions' files, in 256 folders: found, changed under a lock, gone through and swept. All of it blocks."""

import errno
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from heapq import nsmallest
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from threading import Event
from typing import Final, NamedTuple

from satchel import ANY, CorruptValueError, Expected, Payload, StorageError
from satchel.clock import now
from satchel.keys import show
from satchel_file.folders import Folder
from satchel_file.records import LONGEST_HEADER, Header, join, split

logger = logging.getLogger("satchel")

PAGE: Final = 500  # files that are looked at in one go
_DAMAGED: Final = "damaged"
_FAN: Final = re.compile(r"[0-9a-f]{2}")
_FILE: Final = re.compile(r"[0-9a-f]{64}\.json")


class Stored(NamedTuple):
    """What a file holds.

    Attributes:
        payload: the value's.
        version: the payload's.
        expires_at: when it ends, in milliseconds since 1970, or None.
    """

    payload: Payload
    version: str
    expires_at: int | None


class Files:
    """The files of one storage.

    A change is given an event: once that is set, a change that was not made yet is not made any more, and raises
    `TimeoutError`. Whoever is about to make one looks at it under the lock of the folder, so a change that was given
    up never comes after one that was begun later.

    Args:
        path: the folder that they are in.
        where: what messages call it.
        fsync: whether a change is on the disk before it is acknowledged.
        version_of: returns the digest of a payload.
    """

    def __init__(self, path: Path, where: str, *, fsync: bool, version_of: Callable[[Payload], str]) -> None:
        self._path = path
        self._where = where
        self._fsync = fsync
        self._version_of = version_of
        self._lasting: set[str] = set()  # folders whose own names are known to be on the disk

    def create(self) -> None:
        """Make the folder, in one that is there."""
        with Folder(self._path.parent) as parent:
            parent.make(self._path.name)
            self._sync(parent)

    def find(self, name: str) -> Stored | None:
        """Return what is stored under a name and has not ended.

        Raises:
            CorruptValueError: it is damaged.
        """
        file = _file(name)
        with self._folder(file[:2]) as folder:
            return None if folder is None else self._find(folder, name, file)

    def write(self, given_up: Event, payloads: Mapping[str, Payload], end: int | None, expected: Expected) -> bool:
        """Store payloads of one folder until their end, and tell whether all that was there is what was expected.

        What is damaged is copied to another folder if anything will do, and raises otherwise.
        """
        aside = {name: token_hex(16) + ".tmp" for name in payloads}
        fan = folder_of(next(iter(payloads)))
        with self._folder(fan, make=True) as folder:
            if folder is None:
                raise FileNotFoundError(errno.ENOENT, "it was just removed", fan)
            if expected is not ANY and not self._are_at(folder, payloads, expected):
                return False  # before a file is written in vain
            try:
                for name, payload in payloads.items():
                    content = join(Header(name, end, self._version_of(payload)), payload)
                    folder.write(aside[name], content, sync=self._fsync)
                with _locked(folder, given_up):
                    if not self._are_at(folder, payloads, expected):
                        return False
                    for name in payloads:
                        folder.replace(_file(name), aside[name])
                        del aside[name]
            finally:
                for file in aside.values():
                    folder.remove(file)
            self._sync(folder)
        return True

    def remove(self, given_up: Event, names: Collection[str], expected: Expected) -> bool:
        """Remove what is stored under names of one folder, as `write` replaces it."""
        with self._folder(folder_of(next(iter(names)))) as folder:
            if folder is None:
                return expected is ANY
            with _locked(folder, given_up):
                if not self._are_at(folder, names, expected):
                    return False
                for name in names:
                    folder.remove(_file(name))
            self._sync(folder)
        return True

    def after(self, given_up: Event, last: str) -> list[str]:
        """Return the 500 files that come after the file `last`, in order."""
        found: list[str] = []
        for fan in self._fans(last[:2]):
            with self._folder(fan) as folder:
                if folder is None:
                    continue
                with folder.locked(given_up):  # else one that is replaced meanwhile might be missed
                    names = folder.names()
            files = (name for name in names if name > last and name.startswith(fan) and _FILE.fullmatch(name))
            found += nsmallest(PAGE - len(found), files)
            if len(found) == PAGE:
                break
        return found

    def names(self, files: Sequence[str], prefix: str) -> tuple[list[str], list[str]]:
        """Return the names that start with `prefix` and have not ended, and the files that tell no name."""
        names: list[str] = []
        damaged: list[str] = []
        for folder, file in self._each(files):
            try:
                header = _header(folder, file)
            except CorruptValueError:
                damaged.append(f"{file[:2]}/{file}")
            else:
                if header is not None and header.name.startswith(prefix) and not _is_over(header.expires_at):
                    names.append(header.name)
        return names, damaged

    def sweep(self, given_up: Event, files: Sequence[str]) -> int:
        """Remove those files that have ended, and return their number."""
        count = 0
        for folder, file in self._each(files):
            if _has_ended(folder, file):
                with folder.locked(given_up):
                    if _has_ended(folder, file):  # still: nobody has written it anew
                        folder.remove(file)
                        count += 1
        return count

    def tidy(self, seconds: float, name: str | None = None) -> None:
        """Remove what killed processes left behind so long ago, everywhere or in the folder for one name."""
        for fan in self._fans() if name is None else [folder_of(name)]:
            with self._folder(fan) as folder:
                for file in [] if folder is None else folder.names():
                    if folder is not None and file.endswith(".tmp"):
                        with suppress(FileNotFoundError):
                            if folder.age(file) > seconds:
                                folder.remove(file)

    def _fans(self, first: str = "") -> list[str]:
        with Folder(self._path) as root:
            return sorted(name for name in root.names() if name >= first and _FAN.fullmatch(name))

    def _each(self, files: Sequence[str]) -> Iterator[tuple[Folder, str]]:
        for fan, some in groupby(files, key=lambda file: file[:2]):
            with self._folder(fan) as folder:
                if folder is not None:
                    yield from ((folder, file) for file in some)

    @contextmanager
    def _folder(self, name: str, *, make: bool = False) -> Iterator[Folder | None]:
        """Open one of the folders; None if it is not there."""
        folder = self._inside(name) if name in self._lasting or not make else None
        if folder is None and make:
            with Folder(self._path) as root:
                root.make(name)
                self._sync(root)  # also if another process made it, which may not have come so far yet
            self._lasting.add(name)
            folder = self._inside(name)
        if folder is None:
            yield None
        else:
            with folder:
                yield folder

    def _inside(self, name: str) -> Folder | None:
        """Open one of the folders by its path, which takes half as long as one in the other, or return None."""
        try:
            return Folder(f"{self._path}{os.sep}{name}", link=False)
        except FileNotFoundError:
            with Folder(self._path):  # it raises if that is what is missing
                return None

    def _are_at(self, folder: Folder, names: Iterable[str], expected: Expected) -> bool:
        return all(self._is_at(folder, name, expected) for name in names)

    def _is_at(self, folder: Folder, name: str, expected: Expected) -> bool:
        try:
            stored = self._find(folder, name, _file(name))
        except CorruptValueError:
            if expected is not ANY:
                raise
            self._keep(folder, name)
            return True
        return expected is ANY or expected == (None if stored is None else stored.version)

    def _find(self, folder: Folder, name: str, file: str) -> Stored | None:
        content = folder.read(file)
        if content is None:
            return None
        try:
            header, payload = split(content)
            version = self._version_of(payload)
            if header.name != name:
                raise CorruptValueError("is of another session")
            if header.digest not in (None, version):
                raise CorruptValueError(
                    'is cut short or damaged; if you edited it, take "sha256" out of its first line'
                )
        except StorageError as error:
            raise type(error)(f"{show(name)} in {self._where}: {file[:2]}/{file} {error}") from None
        return None if _is_over(header.expires_at) else Stored(payload, version, header.expires_at)

    def _keep(self, folder: Folder, name: str) -> None:
        """Copy what is damaged to where an operator finds it; a crash now leaves both."""
        file = _file(name)
        content = folder.read(file)
        copy = f"{file.removesuffix('.json')}-{time.time_ns()}.json"
        with self._folder(_DAMAGED, make=True) as damaged:
            if damaged is None or content is None:
                raise FileNotFoundError(errno.ENOENT, "it was just removed", file)
            damaged.write(copy, content, sync=self._fsync)
            self._sync(damaged)
        logger.warning("damaged: %s in %s, kept as %s/%s", show(name), self._where, _DAMAGED, copy)

    def _sync(self, folder: Folder) -> None:
        if self._fsync:
            folder.sync()


def folder_of(name: str) -> str:
    """Return the name of the folder that a record's file is in."""
    return _file(name)[:2]


def _file(name: str) -> str:
    """Return the name of a record's file: letters and digits of one case, and never the same for two names."""
    return hashlib.sha256(name.encode()).hexdigest() + ".json"


@contextmanager
def _locked(folder: Folder, given_up: Event) -> Iterator[None]:
    """Keep out other writers, unless nobody waits for this one any more."""
    with folder.locked(given_up):
        if given_up.is_set():
            raise TimeoutError
        yield


def _header(folder: Folder, file: str) -> Header | None:
    """Return the header of a file, or None if it is not there.

    Raises:
        CorruptValueError: it has none, or one that belongs elsewhere.
    """
    start = folder.read(file, LONGEST_HEADER)
    if start is None:
        return None
    header, _ = split(start)
    if _file(header.name) != file:
        raise CorruptValueError("is of another session")
    return header


def _has_ended(folder: Folder, file: str) -> bool:
    try:
        header = _header(folder, file)
    except StorageError:
        return False
    return header is not None and _is_over(header.expires_at)


def _is_over(end: int | None) -> bool:
    return end is not None and end <= now()
