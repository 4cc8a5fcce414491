"""Sessions of grammY's in files, read where @grammyjs/storage-file left them."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

from satchel import ConfigurationError, CorruptValueError, Payload
from satchel.foreign.grammy import Grammy
from satchel.keys import show
from satchel_file.folders import Folder
from satchel_file.storage import FileStorage

_ENDING: Final = ".json"


class GrammyFileStorage(Grammy, FileStorage[Any]):
    """A file of JSON, `<the key's last two characters>/<key>.json`; other kinds of files are nobody's session.

    A key with a slash has no file, as the adapter cannot write it, and one that ends in two dots has one outside of the
    folder, where nobody looks here. Takes what `Grammy` and `FileStorage` take.
    """

    async def open(self) -> None:
        """Look at the folder."""
        if not await self._threads.run(self._path.is_dir):
            raise ConfigurationError(f"{self.where} is not a folder (an absolute path has four slashes in a URL)")

    async def get_many(self, names: Sequence[str]) -> dict[str, Payload]:
        """Read the files in one visit to a thread."""
        return await self._threads.run(self._read, names)

    async def pages(self, prefix: str) -> AsyncGenerator[Sequence[str], None]:
        """List one folder after the other."""
        strangers: list[str] = []
        for folder in ["", *await self._threads.run(self._folders)]:
            names, strange = await self._threads.run(self._names, folder, prefix)
            strangers += strange
            yield names
        if strangers:  # said at the end, so that they keep nobody from the others
            more = f" and {len(strangers) - 1} more" if strangers[1:] else ""
            raise CorruptValueError(f"{self.where} has files in a wrong folder: {show(strangers[0])}{more}")

    def schema(self) -> str:
        """Return nothing: the folder is there."""
        return ""

    # In a thread.

    def _read(self, names: Sequence[str]) -> dict[str, Payload]:
        found: dict[str, Payload] = {}
        with Folder(self._path) as outermost:
            for name in names:
                folder = None if _leads_away(name) else outermost.inside(_folder_of(name))
                if folder is not None:
                    with folder:
                        payload = folder.read(name + _ENDING)
                    if payload is not None:
                        found[name] = payload
        return found

    def _folders(self) -> list[str]:
        with Folder(self._path) as outermost:
            return [name for name in sorted(outermost.names()) if (self._path / name).is_dir()]

    def _names(self, inside: str, prefix: str) -> tuple[list[str], list[str]]:
        """Return the keys of one folder, and the files that are another's. In the outermost there is no session."""
        with Folder(self._path) as outermost:
            folder = outermost.inside(inside) if inside else outermost
            if folder is None:
                return [], []
            with folder:
                keys = [name.removesuffix(_ENDING) for name in sorted(folder.names()) if name.endswith(_ENDING)]
        strange = [f"{inside}/{key}{_ENDING}" for key in keys if _folder_of(key) != inside]
        return [key for key in keys if _folder_of(key) == inside and key.startswith(prefix)], strange


def _folder_of(name: str) -> str:
    """Return the last two characters as JavaScript counts them, where half of one may be cut off."""
    return name.encode("utf-16-le")[-4:].decode("utf-16-le", "replace")


def _leads_away(name: str) -> bool:
    return "/" in name or "\0" in name or _folder_of(name) in (".", "..")
