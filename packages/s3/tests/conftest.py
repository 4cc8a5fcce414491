"""What the tests look at the servers with, and clients of the driver's own."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config

from satchel_conformance.front import Front


def endpoint_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["endpoint_url"][0]


@pytest.fixture(params=["ceph", "moto"])
def url(request: pytest.FixtureRequest) -> str:
    """A server of each kind, shared by all tests."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def endpoint(url: str) -> str:
    return endpoint_of(url)


@pytest.fixture
def namespace() -> str:
    """A part of the bucket for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def raw(endpoint: str) -> Iterator[Any]:
    """A client of the driver's own, to look behind the storage's back."""
    yield (client := client_at(endpoint))
    client.close()


@pytest.fixture
def front(moto_url: str) -> Iterator[Front]:
    """Stands before moto, which checks no signatures."""
    with Front(endpoint_of(moto_url)) as front:
        yield front


@pytest.fixture
def front_url(front: Front, moto_url: str) -> str:
    """The storage's, through the front."""
    return moto_url.replace(endpoint_of(moto_url), front.url)


def client_at(endpoint: str) -> Any:
    config = Config(s3={"addressing_style": "path"})
    return boto3.Session().client("s3", endpoint_url=endpoint, region_name="us-east-1", config=config)
