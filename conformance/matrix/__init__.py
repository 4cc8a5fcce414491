"""Every clause against every planted bug: `python -m conformance.matrix` writes `docs/matrix.md`."""
