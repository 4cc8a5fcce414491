"""The servers that the tests want: find or start a container engine, and say at the end what was missing."""

import atexit
import fcntl
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

from tools import pythons, workspace

OFFLINE = workspace.ROOT / "tools" / "offline"


def provide(images: Iterable[str], probe: Callable[[list[str]], str]) -> str:
    """See to it that the tests find a container engine with these images; return why not, or "".

    What the tests need to know goes into this process's environment. `probe` asks the engine that is there, if any, for
    images by their official tags, and returns what is wrong. A server named by SATCHEL_TEST_<NAME>_URL needs no image.
    """
    wanted = [image for image in images if f"SATCHEL_TEST_{image.upper()}_URL" not in os.environ]
    why = probe([workspace.tag_of(image) for image in wanted]) if wanted else ""
    if not why or not _may_install():
        return why
    _Engine.use()
    failed = [image for image in wanted if not _Engine.up(image)]
    return f"the private container engine lacks {', '.join(failed)}" if failed else ""


def _may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and platform.machine() == "x86_64"


class _Engine:
    """The private engine of tools/offline: stopped at the end by the last run that uses it, if a run started it."""

    state = Path(os.environ.get("OFFLINE_HOME") or Path.home() / ".cache/offline-engine")
    started = state / "started-by-tests"
    users = -1  # a file descriptor, whose lock says that this run uses the engine

    @classmethod
    def use(cls) -> None:
        if cls.users != -1:
            return
        cls.state.mkdir(parents=True, exist_ok=True)
        cls.users = os.open(cls.state / "users", os.O_CREAT | os.O_RDWR)
        fcntl.flock(cls.users, fcntl.LOCK_SH)
        if not _answers(cls.state / "docker.sock"):
            cls.started.touch()
        atexit.register(cls.leave)
        signal.signal(signal.SIGTERM, _interrupt)
        signal.signal(signal.SIGHUP, _interrupt)

    @classmethod
    def up(cls, image: str) -> bool:
        done = subprocess.run([OFFLINE / "up", image], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            return False
        exports = (line.removeprefix("export ").partition("=") for line in done.stdout.splitlines())
        os.environ.update({name: value for name, _, value in exports})
        return True

    @classmethod
    def leave(cls) -> None:
        try:
            fcntl.flock(cls.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if cls.started.exists() and subprocess.run([OFFLINE / "down"], check=False).returncode == 0:
            cls.started.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class NotRun:
    """What the tests left out: the backends by the word of satchel_conformance's plugin, the Pythons by ours."""

    def __init__(self, installed: Iterable[str], tested: Iterable[str]) -> None:
        handle, name = tempfile.mkstemp(prefix="satchel-not-run-")
        os.close(handle)
        os.environ["SATCHEL_NOT_RUN_FILE"] = name
        self._file = Path(name)
        self._pythons = dict.fromkeys(pythons.SUPPORTED, "not installed")
        self._pythons.update(dict.fromkeys(installed, "only the oldest and the newest here are tested"))
        self._pythons.update(dict.fromkeys(tested, "left out of this run"))
        self._all_pythons = True
        self.begun = self.passed = 0  # runs of pytest
        atexit.register(self.report)

    def tested(self, python: str, *, but: str = "") -> None:
        """Note that everything is tested on this Python, `but` for this: the others are worth a word."""
        self._pythons.pop(python, None)
        if but:
            self._pythons[python] = but
        self._all_pythons = False

    def report(self) -> None:
        """Print it by name, a line for each reason."""
        backends = {one["backend"]: one["why"] for one in map(json.loads, self._file.read_text("utf-8").splitlines())}
        self._file.unlink()
        lines = by_reason(backends)
        if not self._all_pythons:
            lines += by_reason(self._pythons, "Python ")
        if not lines and self.begun == self.passed:
            lines = ["nothing, all of it ran"]
        for line in lines:
            print(f"not run: {line}")


def by_reason(missing: dict[str, str], kind: str = "") -> list[str]:
    """Turn {"redis": "no engine", "valkey": "no engine"} into ["redis, valkey (no engine)"]."""
    reasons = sorted(set(missing.values()))
    return [f"{kind}{', '.join(sorted(n for n in missing if missing[n] == why))} ({why})" for why in reasons]
