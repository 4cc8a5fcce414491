"""The command line, `satchel-conformance`: needs `pip install "satchel-conformance[cli]"`."""

import sys


def main() -> None:
    """Run the command line."""
    try:
        from satchel_conformance.cli.app import app
    except ImportError as error:
        hint = 'pip install "satchel-conformance[cli]"'
        sys.exit(f"satchel-conformance: the command line needs {error.name}: {hint}")
    app()
