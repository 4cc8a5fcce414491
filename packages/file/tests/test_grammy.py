"""Sessions of grammY's in files: what else may lie in their folders.

What a real bot of grammY's leaves is read in tests/test_moving_from_grammy.py, as in the other storages that it has.
"""

from pathlib import Path

import pytest

from satchel import ConfigurationError, CorruptValueError, StorageUnavailableError, open_storage
from satchel_file.grammy import GrammyFileStorage


def put(folder: Path, name: str, text: str = "{}") -> Path:
    """Write a file, where grammY's storage does."""
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


async def keys_in(folder: Path) -> list[str]:
    async with GrammyFileStorage(folder, keys="same") as storage:
        return sorted([key async for key in storage.keys()])


async def test_the_folder_is_named_by_the_last_two_characters_of_javascript(tmp_path: Path) -> None:
    for name in ("42/42.json", "7/7.json", "🧀/a🧀.json", "\ufffdb/🧀b.json", "é/é.json", "ON/x.JSON.json"):
        put(tmp_path, name)

    keys = ["42", "7", "a🧀", "x.JSON", "é", "🧀b"]
    assert await keys_in(tmp_path) == keys
    async with GrammyFileStorage(tmp_path, keys="same") as storage:
        assert await storage.read_many(keys) == {key: {} for key in keys}


async def test_what_is_no_json_file_is_no_session(tmp_path: Path) -> None:
    for name in ("42/42.json", "42/notes.txt", "42/.DS_Store", ".gitkeep", "README.md"):
        put(tmp_path, name)

    assert await keys_in(tmp_path) == ["42"]


@pytest.mark.parametrize("stray", ["43/42.json", "42.json", "42/41.json"])
async def test_a_session_in_a_wrong_folder_is_told_after_all_others(tmp_path: Path, stray: str) -> None:
    put(tmp_path, "40/40.json")
    put(tmp_path, stray)
    put(tmp_path, "99/99.json")

    listed = []
    async with GrammyFileStorage(tmp_path) as storage:
        with pytest.raises(CorruptValueError, match=f"files in a wrong folder: '/?{stray}'"):
            async for key in storage.keys():
                listed.append(key)  # noqa: PERF401 - the end raises
    assert listed == ["telegram:40", "telegram:99"]


async def test_no_key_leads_out_of_the_folder(tmp_path: Path) -> None:
    (folder := tmp_path / "sessions").mkdir()
    put(folder, "42/42.json")
    put(tmp_path, "x...json", '"secret"')
    put(tmp_path, "secret.json", '"secret"')

    (folder / "et").mkdir()
    async with GrammyFileStorage(folder, keys="same") as storage:
        for key in ("x..", "..", ".", "../secret", "../../secret", f"{tmp_path}/secret", "a\0b"):
            assert await storage.read(key) is None
        (folder / "et").rmdir()
        (folder / "et").symlink_to(tmp_path)
        with pytest.raises(ConfigurationError, match="has a link"):
            await storage.read("secret")


async def test_what_a_killed_bot_left_half_written_raises(tmp_path: Path) -> None:
    put(tmp_path, "41/41.json", '{"pizza": 1')
    put(tmp_path, "42/42.json", "")

    async with GrammyFileStorage(tmp_path) as storage:
        assert [key async for key in storage.keys()] == ["telegram:41", "telegram:42"]
        for key in ("telegram:41", "telegram:42"):
            with pytest.raises(CorruptValueError, match=f"'{key}' in grammy.file:///.* is not JSON"):
                await storage.read(key)


async def test_a_folder_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="grammy.file:///.*/sessions is not a folder"):
        async with open_storage(f"grammy+file:///{tmp_path}/sessions"):
            pass
    assert list(tmp_path.iterdir()) == []

    (folder := tmp_path / "sessions").mkdir()
    async with GrammyFileStorage(folder) as storage:
        folder.rmdir()
        with pytest.raises(StorageUnavailableError):
            await storage.read("telegram:42")
