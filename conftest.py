"""What all tests share."""

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests are coroutines of asyncio, the only event loop that the drivers know."""
    return "asyncio"
