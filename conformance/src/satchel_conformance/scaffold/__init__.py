"""Making the package of a new adapter: `satchel-conformance new mybackend`.

The files are templates of the standard library's `string.Template`. There are half a dozen names to fill in and nothing
to decide, so a template engine, or a tool that asks questions, would be one more thing to install and to learn.
"""

import re
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

_TEMPLATES: Final = {
    "pyproject.toml.template": "pyproject.toml",
    "README.md.template": "README.md",
    "LICENSE.template": "LICENSE",
    "init.py.template": "src/{module}/__init__.py",
    "storage.py.template": "src/{module}/storage.py",
    "test_conformance.py.template": "tests/test_conformance.py",
}
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")  # RFC 3986, section 3.1


class ScaffoldError(Exception):
    """The package cannot be made. Nothing was written over."""


class InvalidNameError(ScaffoldError):
    """The backend's name or the URL scheme is none that a package can have."""


class FolderExistsError(ScaffoldError):
    """There is a file or a folder where the package would be."""


def create(name: str, into: Path, *, url_scheme: str | None = None) -> list[Path]:
    """Make the package `satchel-<name>` in a new folder of that name, and return its files.

        create("memcached", Path("examples"))    # examples/satchel-memcached/pyproject.toml, ...

    Args:
        name: the backend's, in small letters: `memcached`, `cloud-spanner`.
        into: the folder that the new one is made in; it is made too if it is not there.
        url_scheme: what the storage's URLs start with; the name if it is not given.

    Raises:
        InvalidNameError: the name or the scheme is malformed.
        FolderExistsError: the package's folder exists. Nothing in it is touched.
        ScaffoldError: the file system refuses to write.
    """
    names = _names(name, url_scheme or name)
    root = into / names["package"]
    texts = {
        root / path.format(**names): Template((files(__name__) / "template" / template).read_text("utf-8")).substitute(
            names
        )
        for template, path in _TEMPLATES.items()
    }
    texts[root / "src" / names["module"] / "py.typed"] = ""
    try:
        into.mkdir(parents=True, exist_ok=True)
        root.mkdir()
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
    except FileExistsError as error:
        raise FolderExistsError(f"{error.filename} exists already") from error
    except OSError as error:
        raise ScaffoldError(f"{error.filename or root} cannot be written: {error.strerror}") from error
    return sorted(texts)


def _names(name: str, scheme: str) -> Mapping[str, str]:
    """Return what the templates call things."""
    if not _NAME.fullmatch(name):
        raise InvalidNameError(f"{name!r} is no name such as memcached or cloud-spanner")
    if name.startswith("satchel") or name == "conformance":
        raise InvalidNameError(f"satchel-{name} would not do: name the backend alone")
    if not _SCHEME.fullmatch(scheme):
        raise InvalidNameError(f"{scheme!r} is no URL scheme: small letters, then digits, +, - and dots too")
    module = "satchel_" + name.replace("-", "_")
    camel = "".join(part.capitalize() for part in name.split("-"))
    return {
        "package": f"satchel-{name}",
        "module": module,
        "name": camel,
        "storage": camel + "Storage",
        "title": " ".join(part.capitalize() for part in name.split("-")),
        "scheme": scheme,
        "scheme_in_toml": scheme if re.fullmatch(r"[\w-]+", scheme) else f'"{scheme}"',
        "satchel": version("satchel"),
        "conformance": version("satchel-conformance"),
        "year": str(date.today().year),  # noqa: DTZ011 - the year of a licence has no time zone
    }
