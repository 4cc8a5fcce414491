"""Every block of Python in a README or a page of docs/ runs as it stands, a program of its own in an empty folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import capabilities

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("assistant.md", "scopes.md")]
BLOCKS = [
    pytest.param(block, id=f"{path.relative_to(ROOT)}-{number}")
    for path in sorted({ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("packages/*/README.md"), *PAGES})
    for number, block in enumerate(re.findall(r"^```python\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE))
]
SERVERS = {
    "dynamodb:///sessions?region=eu-west-1": "dynamodb_url",
    "firestore://my-project": "firestore_url",
    "mongodb://localhost": "mongodb_url",
    "postgresql://localhost/bot": "postgres_url",
    "redis://localhost": "redis_url",
    "s3://my-bucket/bots?region=eu-west-1": "moto_url",
    "supabase://PROJECT.supabase.co": "supabase_url",
}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_python_of_a_readme_runs(block: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    for address, fixture in SERVERS.items():
        if address in block and f"# or {address}" not in block:
            block = block.replace(address, request.getfixturevalue(fixture))
    program = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_tables_of_storages_and_bridges_say_what_they_declare() -> None:
    assert capabilities.is_current(), "write it anew: ./dev capabilities"
