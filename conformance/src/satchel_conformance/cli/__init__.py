"""The command line, `satchel-conformance`."""


def main() -> None:
    """Run the command line."""
    from satchel_conformance.cli.app import app  # not at once: it brings in rich, which pytest's plugin does not need

    app()
