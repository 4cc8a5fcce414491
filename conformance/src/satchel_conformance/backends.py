"""Servers to test against: named by the environment, or started in containers from the official images.

    postgres_url = url_fixture(Backend("postgres", container("postgres:17", 5432, …)))   # a new backend

The servers whose fixtures the plugin brings (`redis_url` and more) are in `satchel_conformance.servers`.
"""

import gc
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

Start = Callable[[], AbstractContextManager[str]]
"""Starts a server and gives its URL; leaving the context removes it."""

JAVA: Final = MappingProxyType({"JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"})
"""For servers written in Java: what runs for seconds is not worth the second compiler, which takes more of them."""

# Where a port is published of which only the engine knows the number: at IPv6 it may be another one, and that which
# another container has at IPv4, so that "localhost" is now this server, now that one.
_IPV4: Final = ("0.0.0.0",)  # noqa: S104 - as by default; the engine may be another machine

STARTED: Final[list["DockerContainer"]] = []
"""The containers that this process has started and not removed yet."""


class BackendMissing(Exception):
    """There is no such server here, and none can be started. The message says why."""


@dataclass(frozen=True)
class Backend:
    """A kind of server.

    Attributes:
        name: as in the fixture `<name>_url` and the environment's `SATCHEL_TEST_<NAME>_URL`.
        start: how to start one in a container.
    """

    name: str
    start: Start

    @contextmanager
    def server(self) -> Iterator[str]:
        """Give the URL of the server that the environment names, or else of one that is started for this block.

        Raises:
            BackendMissing: neither is to be had.
        """
        if named := os.environ.get(self.variable):
            yield named
        else:
            with self.start() as url:
                yield url

    @property
    def variable(self) -> str:
        """The environment variable that names a server which is already there."""
        return f"SATCHEL_TEST_{self.name.upper()}_URL"

    @property
    def required(self) -> bool:
        """Whether `SATCHEL_REQUIRE` ("all", or names with commas) makes its absence a failure."""
        wanted = {name.strip() for name in os.environ.get("SATCHEL_REQUIRE", "").split(",")}
        return bool(wanted & {"all", self.name})


def container(image: str, port: int, *, ready: str, url: str, command: str = "", **environment: str) -> Start:
    """Return how to start a container of one server.

    Args:
        image: as the registry names it, with its tag.
        port: where the server listens inside.
        ready: what it logs once it answers. The published port accepts connections long before that.
        url: its URL, with `{host}` and `{port}`.
        command: instead of the image's own.
        environment: the container's variables.
    """

    @contextmanager
    def start() -> Iterator[str]:
        made = prepared(image, ready).with_exposed_ports(port).with_envs(**environment)
        if command:
            made.with_command(command)
        with running(made):
            yield url.format(host=made.get_container_host_ip(), port=made.get_exposed_port(port))

    return start


def prepared(image: str, ready: str) -> "DockerContainer":
    """Return a container that is waited for until it logs `ready`; it can be given more options, and is `running` then.

    Raises:
        BackendMissing: there is no engine.
    """
    try:
        from docker.errors import DockerException
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy
    except ImportError:
        raise BackendMissing('testcontainers is not installed: pip install "satchel-conformance[containers]"') from None
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            return DockerContainer(image).waiting_for(LogMessageWaitStrategy(ready))
        except DockerException as error:
            why = _line(error)
        gc.collect()  # the client leaves a socket unclosed when it cannot connect
    raise BackendMissing(f"no container engine answers: {why}")


@contextmanager
def running(made: "DockerContainer") -> Iterator[None]:
    """Start a container, and remove it at the end.

    Raises:
        BackendMissing: it cannot be started, mostly since its image is not to be had.
    """
    from docker.errors import DockerException

    try:
        vars(made)["ports"] = {port: at or _IPV4 for port, at in made.ports.items()}
        made.start()
    except DockerException as error:
        raise BackendMissing(f"{made.image} cannot be started: {_line(error)}") from error
    except BaseException:  # it runs, but is not ready, so it would stay behind
        made.stop()
        raise
    STARTED.append(made)
    try:
        yield
    finally:
        STARTED.remove(made)
        made.stop()


def log_of(made: "DockerContainer", lines: int) -> str:
    """Return so many of the last lines that a container, which may have ended by itself, has logged."""
    from docker.errors import DockerException

    try:
        log: bytes = made.get_wrapped_container().logs(tail=lines)
    except (DockerException, OSError) as error:  # the engine may be gone, too
        return f"it cannot be read: {_line(error)}"
    return log.decode(errors="replace")


def kill_server(url: str, program: str) -> None:
    """End every process called `program` in the container that publishes the port in `url`, with SIGKILL.

    Raises:
        BackendMissing: no container of this machine does.
    """
    run_in(urlsplit(url).port, killing(program))


def killing(program: str) -> str:
    """Return a shell script that ends every process called `program` with SIGKILL, and fails if there is none.

    `pidof` passes over a process that waits for its disk, as a server often does that syncs every write.
    """
    name = program[:15]  # as much as Linux keeps: https://man7.org/linux/man-pages/man5/proc_pid_comm.5.html
    is_it = f'[ "$(cat $process/comm 2>/dev/null)" = "{name}" ]'
    kill = f"if {is_it}; then kill -9 ${{process#/proc/}} && killed=yes; fi"
    return f'killed=; for process in /proc/[0-9]*; do {kill}; done; [ -n "$killed" ]'


def run_in(port: int | None, script: str) -> str:
    """Run a shell script as root in the container that publishes a port at IPv4, and return what it prints.

    At IPv6 another container may have a port of that number: an engine counts them apart.

    Raises:
        BackendMissing: no container of this machine does, or the script fails.
    """
    from docker.errors import DockerException
    from testcontainers.core.docker_client import DockerClient

    client = DockerClient().client
    try:
        for found in client.containers.list(ignore_removed=True):  # other tests remove theirs meanwhile
            published = [one for places in found.ports.values() for one in places or ()]
            if any(one["HostPort"] == str(port) and ":" not in one["HostIp"] for one in published):
                code, output = found.exec_run(["sh", "-c", script], user="root")
                said = output.decode(errors="replace") if isinstance(output, bytes) else ""
                if code:
                    raise BackendMissing(f"this failed where port {port} is: {script}: {said.strip()}")
                return said
    except DockerException as error:
        raise BackendMissing(f"no container engine answers: {_line(error)}") from error
    finally:
        client.close()
    raise BackendMissing(f"no container publishes port {port}")


def free_ports(count: int) -> list[int]:
    """Return free ports for cluster nodes, whose bus listens 10 000 above."""
    ports: list[int] = []
    with ExitStack() as stack:
        while len(ports) < count:
            held = stack.enter_context(socket.socket())
            held.bind(("127.0.0.1", 0))
            port: int = held.getsockname()[1]
            if port < 55_000:
                ports.append(port)
    return ports


def _line(error: Exception) -> str:
    """Return the first line of what a driver says, shortened."""
    text = str(error).partition("\n")[0]
    return text if len(text) <= 200 else text[:197] + "..."
