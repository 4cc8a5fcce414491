"""What all tests share."""

import pytest
from hypothesis import settings

# The same examples each time, however long a busy machine takes for one.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests are coroutines of asyncio, the only event loop that the drivers know."""
    return "asyncio"
