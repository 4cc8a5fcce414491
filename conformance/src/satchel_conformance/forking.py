"""Processes for clauses, forked from one that has imported the adapter, which takes longer than most of their jobs."""

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from asyncio import ReadTransport, StreamReader, StreamReaderProtocol
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path
from typing import Final, NoReturn

from satchel_conformance.worker import main

_LONGEST: Final = 65_536  # bytes of a request

_FORKER: Final[list[socket.socket]] = []  # where it is asked, once there is one


class Forked:
    """A process, to be handled as those of `asyncio.subprocess`.

    Attributes:
        pid: its number.
        stdout: what it prints.
        returncode: as `subprocess` has it; None while it runs.
    """

    returncode: int | None = None

    def __init__(self, pid: int, stdout: StreamReader, stderr: StreamReader, code: StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self._stderr = stderr
        self._code = code

    async def communicate(self) -> tuple[bytes, bytes]:
        """Wait for its end, and return what it has printed, also to stderr."""
        out, errors = await asyncio.gather(self.stdout.read(), self._stderr.read())
        await self.wait()
        return out, errors

    async def wait(self) -> int:
        """Wait for its end, and return its code."""
        if self.returncode is None:
            self.returncode = int(await self._code.read() or -signal.SIGKILL)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def begin() -> None:
    """Fork the process that others are forked from, unless this one has threads. It must have no connections yet."""
    if len([*Path("/proc/self/task").iterdir()]) > 1:
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        try:
            ours.close()
            _serve(theirs)
        finally:
            os._exit(0)
    theirs.close()
    _FORKER.append(ours)


async def start(arguments: Sequence[str]) -> Forked | None:
    """Have a process forked, in a session of its own, that does what `python -m satchel_conformance.worker` does.

    Return None if there is nobody, or nobody any more, who forks it.
    """
    if not _FORKER:
        return None
    pipes = [os.pipe() for _ in range(3)]
    with suppress(OSError), ExitStack() as undo:
        files = [undo.enter_context(os.fdopen(end, "rb", 0)) for end, _ in pipes]
        try:
            socket.send_fds(_FORKER[0], [json.dumps(arguments).encode()], [end for _, end in pipes])
        finally:
            for _, end in pipes:
                os.close(end)
        readers = []
        for file in files:
            reader, transport = await _reader(file)
            undo.callback(transport.close)  # a process that is there ends when it prints
            readers.append(reader)
        stdout, stderr, status = readers
        if pid := await status.readline():
            undo.pop_all()
            return Forked(int(pid), stdout, stderr, status)
    while _FORKER:
        _FORKER.pop().close()
    return None


async def _reader(file: FileIO) -> tuple[StreamReader, ReadTransport]:
    reader = StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: StreamReaderProtocol(reader), file)
    return reader, transport


def _serve(requests: socket.socket) -> None:
    """Fork a process for each request, until nobody is there who could ask for one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # they say themselves how they ended
    this = os.getpid()
    while True:
        request, ends, *_ = socket.recv_fds(requests, _LONGEST, 3)
        if not request:
            return
        with suppress(OSError):  # who asked for it sees that it has not come
            if os.fork() == 0:
                requests.close()
                _work(this, request, ends)
        for end in ends:
            os.close(end)


def _work(parent: int, request: bytes, ends: Sequence[int]) -> NoReturn:
    """Be the process."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        stdout, stderr, status = map(_above, ends)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        with os.fdopen(status, "w") as say:
            say.write(f"{os.getpid()}\n")
            say.flush()
            say.write(str(_code(parent, json.loads(request))))
    finally:
        os._exit(0)


def _above(end: int) -> int:
    """Return the same end, by a number that is free also where what this is forked from has no stdout or stderr."""
    return end if end > 2 else _above(os.dup(end))


def _code(parent: int, arguments: list[str]) -> int:
    """Do the job, and return the code that a process ends with that has done it."""
    try:
        code = main(parent, int(arguments[0]), *arguments[1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
