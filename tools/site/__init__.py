"""The documentation's site: what Sphinx is told beyond its configuration in docs/conf.py."""
