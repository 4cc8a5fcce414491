"""Folders in which everything is found without following a link, and files change as a whole or not at all."""

import errno
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Final, ParamSpec, Self, TypeVar

from filelock import lock_descriptor, unlock_descriptor

P = ParamSpec("P")
T = TypeVar("T")


def _flags(*names: str) -> int:
    """Return those of the flags that the system has."""
    return sum(getattr(os, name, 0) for name in names)


# O_NONBLOCK: to open a pipe would wait for its other end.
_FOLDER: Final = _flags("O_RDONLY", "O_DIRECTORY")
_FOLDER_INSIDE: Final = _FOLDER | _flags("O_NOFOLLOW")
_READ: Final = _flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
_LOCK: Final = _flags("O_RDWR", "O_CREAT", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
_WRITE: Final = _flags("O_WRONLY", "O_CREAT", "O_EXCL", "O_NOFOLLOW", "O_BINARY")
_RELATIVE: Final = os.open in os.supports_dir_fd  # not on Windows
_POLL: Final = 0.001  # seconds between two looks at a lock, which is held for less than that
_INSIST: Final = 1.0  # seconds for which Windows may refuse a file that somebody has open


class Folder:
    """An open folder: to be used in a `with` block.

    What it is asked for is looked up in the folder itself, wherever that may be moved to meanwhile, and a link is an
    error. Windows cannot do that, so there the path is looked at first.

    Args:
        place: where it is; links on the way to it are followed. With a parent, its name in there.
        parent: the open folder that it is in.
        link: it may be a link itself.
    """

    def __init__(self, place: Path | str, parent: "Folder | None" = None, *, link: bool = True) -> None:
        self._place, self._parent = place, parent
        self.fd: int | None = None
        if _RELATIVE:
            within = None if parent is None else parent.fd
            self.fd = os.open(place, _FOLDER if link else _FOLDER_INSIDE, dir_fd=within)
        else:
            _check_folder(self.path, links=link)

    @property
    def path(self) -> Path:
        """Where it is. It is asked for only on Windows: to build it takes longer than to open the folder."""
        return Path(self._place) if self._parent is None else self._parent.path / self._place

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    def inside(self, name: str) -> "Folder | None":
        """Open a folder in this one, or return None if it is not there."""
        try:
            return Folder(name, self, link=False)
        except FileNotFoundError:
            return None

    def make(self, name: str) -> None:
        """Make a folder in this one, for its owner alone, unless it is there."""
        with suppress(FileExistsError):
            os.mkdir(self._at(name), 0o700, dir_fd=self.fd)

    def names(self) -> list[str]:
        """Return the names of all that is in here."""
        return os.listdir(self.path if self.fd is None else self.fd)  # noqa: PTH208 - pathlib knows no descriptors

    def age(self, name: str) -> float:
        """Return how many seconds ago a file was written."""
        return time.time() - os.stat(self._at(name), dir_fd=self.fd, follow_symlinks=False).st_mtime

    def read(self, name: str, most: int = -1) -> bytes | None:
        """Return what a file holds, or so many bytes of it, or None if it is not there."""
        try:
            fd = _insist(os.open, self._at(name), _READ, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.ELOOP, "Not a regular file", name)
            left = found.st_size + 1 if most < 0 else most
            parts = []
            while left and (part := os.read(fd, left)):
                parts.append(part)
                left -= len(part)
            return b"".join(parts)
        finally:
            os.close(fd)

    def write(self, name: str, content: bytes, *, sync: bool) -> None:
        """Write a new file, readable by its owner alone, and have it on the disk before returning, if `sync`."""
        fd = os.open(self._at(name), _WRITE, 0o600, dir_fd=self.fd)
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)

    def replace(self, name: str, by: str) -> None:
        """Give the file `by` the name of another, which is gone then. At any time one of them has it."""
        _insist(os.replace, self._at(by), self._at(name), src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def remove(self, name: str) -> None:
        """Remove a file, unless it is gone."""
        with suppress(FileNotFoundError):
            _insist(os.unlink, self._at(name), dir_fd=self.fd)

    def sync(self) -> None:
        """Have the names of the files on the disk before returning; Windows does so by itself."""
        if self.fd is not None:
            os.fsync(self.fd)

    @contextmanager
    def locked(self, given_up: Event) -> Iterator[None]:
        """Keep out all others, of any process, that lock this folder. The system unlocks it when the process dies.

        Raises:
            TimeoutError: it was given up before the folder was locked.
        """
        fd = self._lock(given_up)
        try:
            yield
        finally:
            if fd is not None:
                unlock_descriptor(fd)  # closing is not enough where the process was forked meanwhile
                os.close(fd)

    def _lock(self, given_up: Event) -> int | None:
        while True:
            try:
                fd = _insist(os.open, self._at("lock"), _LOCK, 0o600, dir_fd=self.fd)
            except OSError as error:
                if error.errno != errno.EROFS:
                    raise
                return None  # nobody writes here, so there is nobody to keep out
            try:
                while not lock_descriptor(fd, blocking=False):
                    if given_up.wait(_POLL):
                        raise TimeoutError
                if os.fstat(fd).st_nlink:
                    return fd
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # somebody removed it, so the next one locks another

    def _at(self, name: str) -> str:
        return name if _RELATIVE else str(self.path / name)


def _check_folder(path: Path, *, links: bool) -> None:
    is_junction: Callable[[Path], bool] = getattr(os.path, "isjunction", lambda _: False)  # since Python 3.12
    if not stat.S_ISDIR(path.stat().st_mode) or (not links and (path.is_symlink() or is_junction(path))):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path.name)


def _insist(act: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T:
    """Act; on Windows try again for a while, where a file that another process has open cannot be replaced."""
    start = time.monotonic()
    while True:
        try:
            return act(*arguments, **more)
        except PermissionError:
            if sys.platform != "win32" or time.monotonic() - start > _INSIST:
                raise
        time.sleep(_POLL)
