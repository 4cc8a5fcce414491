"""The server that the tests run against."""

from satchel_conformance.backends import Backend, container
from satchel_conformance.plugin import url_fixture

# It tells that it listens only with -vv.
memcached_url = url_fixture(
    Backend(
        "memcached",
        container(
            "memcached:1.6",
            11211,
            ready="server listening",
            url="memcached://{host}:{port}",
            command="memcached -vv",
        ),
    )
)
