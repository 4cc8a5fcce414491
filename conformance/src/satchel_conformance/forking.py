"""Processes for clauses, forked from one that has imported the adapter, which takes longer than most of their jobs."""

import asyncio
import json
import os
import signal
import socket
import sys
import traceback
from asyncio import StreamReader, StreamReaderProtocol
from collections.abc import Sequence
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
    """Fork the process that others are forked from. This one has to have a single thread, and no connections yet."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        _serve(theirs)
    theirs.close()
    _FORKER.append(ours)


def can_start() -> bool:
    """Tell whether this process has begun to have others forked."""
    return bool(_FORKER)


async def start(arguments: Sequence[str]) -> Forked:
    """Have a process forked, in a session of its own, that does what `python -m satchel_conformance.worker` does."""
    pipes = [os.pipe() for _ in range(3)]
    try:
        socket.send_fds(_FORKER[0], [json.dumps(arguments).encode()], [end for _, end in pipes])
    finally:
        for _, end in pipes:
            os.close(end)
    stdout, stderr, status = [await _reader(end) for end, _ in pipes]
    return Forked(int(await status.readline()), stdout, stderr, status)


async def _reader(end: int) -> StreamReader:
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), os.fdopen(end, "rb", 0))
    return reader


def _serve(requests: socket.socket) -> NoReturn:
    """Fork a process for each request, until nobody is there who could ask for one."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # they say themselves how they ended
    this = os.getpid()
    while True:
        request, ends, *_ = socket.recv_fds(requests, _LONGEST, 3)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            _work(this, json.loads(request), *ends)
        for end in ends:
            os.close(end)


def _work(parent: int, arguments: list[str], stdout: int, stderr: int, status: int) -> NoReturn:
    """Be the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    with os.fdopen(status, "w") as say:
        say.write(f"{os.getpid()}\n")
        say.flush()
        try:
            code = main(parent, int(arguments[0]), *arguments[1:])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        say.write(str(code))
    os._exit(code)
