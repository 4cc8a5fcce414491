"""What the tests look at the servers with, and clients of the driver's own."""

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from satchel_conformance.front import Front


def endpoint_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["endpoint_url"][0]


@pytest.fixture
def endpoint(dynamodb_url: str) -> str:
    return endpoint_of(dynamodb_url)


@pytest.fixture
def namespace() -> str:
    """A part of the table for one test."""
    return f"test-{secrets.token_hex(6)}"


@pytest.fixture
def raw(endpoint: str) -> Iterator[Any]:
    """A client of the driver's own, to look behind the storage's back."""
    client = boto3.Session().client("dynamodb", endpoint_url=endpoint, region_name="eu-west-1")
    yield client
    client.close()


@pytest.fixture
def front(endpoint: str) -> Iterator[Front]:
    """Stands before the server."""
    with Front(endpoint) as front:
        yield front


@pytest.fixture
def url(front: Front, dynamodb_url: str) -> str:
    """The storage's, through the front."""
    return dynamodb_url.replace(endpoint_of(dynamodb_url), front.url)


def item_in(raw: Any, name: str) -> dict[str, Any]:
    """Return an item as it is stored."""
    found: dict[str, Any] = raw.get_item(TableName="sessions", Key={"session_key": {"S": name}}, ConsistentRead=True)
    return dict(found.get("Item", {}))
