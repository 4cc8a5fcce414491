"""DynamoDB Local, and two servers that speak S3: Ceph's gateway and moto.

Their URLs name no credentials. Where the environment has none either, it is given some while such a server runs.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import Final

from satchel_conformance.backends import JAVA, Backend, prepared, running

_ACCESS_KEY: Final = "AWS_ACCESS_KEY_ID"
_SECRET_KEY: Final = "AWS_SECRET_ACCESS_KEY"
# Without tcp_nodelay, the body of an answer waits for the acknowledgement of its head, which takes 40 ms:
# https://docs.ceph.com/en/latest/radosgw/frontends/
# The index of a bucket is in eleven parts, all of which a listing asks, of however few objects:
# https://docs.ceph.com/en/latest/radosgw/dynamicresharding/
_CEPH: Final = (
    r"sed -i 's/beast endpoint=[^ ]*/& tcp_nodelay=1\nrgw override bucket index max shards = 1/' /etc/ceph/ceph.conf; "
    "exec docker-entrypoint.sh"
)
# moto looks whether a condition holds, writes, and then adds the metadata (`put_object` in its s3/responses.py), but
# takes no lock: when eight clients of boto3's replace one object at once, two may be told that they did (2 of 1800
# rounds). S3 makes one wait for the other, so here one request is answered at a time, each read to its end first.
_ONE_BY_ONE: Final = """
from io import BytesIO
from threading import Lock
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
moto, alone = DomainDispatcherApplication(create_backend_app), Lock()
def answer(environ, start):
    environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
    with alone:
        return list(moto(environ, start))
run_simple("0.0.0.0", 5000, answer, threaded=True)
"""


@contextmanager
def aws(
    image: str, port: int, url: str, ready: str, command: tuple[str, ...] = (), entrypoint: str = ""
) -> Iterator[str]:
    """Start a server that stands in for one of AWS.

    Args:
        image: as the registry names it, with its tag.
        port: where the server listens inside.
        url: of a storage, with `{endpoint}`.
        ready: what it logs on its way; then it is waited for until it answers.
        command: instead of the image's own.
        entrypoint: the program that is given the command, instead of the image's own.
    """
    with _credentials() as (access_key, secret_key):
        made = prepared(image, ready).with_exposed_ports(port)
        made.with_envs(CEPH_DEMO_ACCESS_KEY=access_key, CEPH_DEMO_SECRET_KEY=secret_key, **JAVA)
        if command:
            made.with_command(list(command))
        if entrypoint:
            made.with_kwargs(entrypoint=entrypoint)
        with running(made):
            host, outside = made.get_container_host_ip(), int(made.get_exposed_port(port))
            deadline = time.monotonic() + 60
            while not _answers(host, outside) and time.monotonic() < deadline:
                time.sleep(0.05)
            yield url.format(endpoint=f"http://{host}:{outside}")


@contextmanager
def _credentials() -> Iterator[tuple[str, str]]:
    made_up = {_ACCESS_KEY: "satchel", _SECRET_KEY: "satchel-secret"} if _ACCESS_KEY not in os.environ else {}
    os.environ.update(made_up)
    try:
        yield os.environ[_ACCESS_KEY], os.environ[_SECRET_KEY]
    finally:
        for name in made_up:
            os.environ.pop(name, None)


def _answers(host: str, port: int) -> bool:
    """Tell whether a server speaks HTTP; a container's port accepts connections before it does."""
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
    return True


_DYNAMODB_URL: Final = "dynamodb:///sessions?endpoint_url={endpoint}&region=eu-west-1"
_S3_URL: Final = "s3://sessions?endpoint_url={endpoint}&region=us-east-1"

DYNAMODB: Final = Backend(
    "dynamodb", partial(aws, "amazon/dynamodb-local:latest", 8000, _DYNAMODB_URL, ready="CorsParams")
)
CEPH: Final = Backend(
    "ceph", partial(aws, "ceph-rgw:16", 8080, _S3_URL, ready="log_to_monitors", command=("sh", "-c", _CEPH))
)
MOTO: Final = Backend(
    "moto",
    partial(
        aws,
        "motoserver/moto:5",
        5000,
        _S3_URL,
        ready="Running on",
        command=("-c", _ONE_BY_ONE),
        entrypoint="python3",
    ),
)
