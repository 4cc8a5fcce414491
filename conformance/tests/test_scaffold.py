"""`scaffold.create`: the package of a new adapter, whose tests name what is missing until it is there."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from satchel_conformance import scaffold

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "packages" / "sqlite"

_IN_A_DICT = {
    "get": "return _RECORDS.get(name)",
    "put": '_RECORDS[name] = payload\n        return ""',
    "drop": "_RECORDS.pop(name, None)\n        return True",
}


def run(folder: Path, *command: str, path: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-W", "error", *command]
    environment = os.environ | {"PYTHONPATH": str(path)}
    return subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def run_tests(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, path=package / "src")


def write_hooks(package: Path, *hooks: str) -> None:
    """Put a dict of the module behind some of the hooks."""
    storage = package / "src/satchel_mybackend/storage.py"
    text = storage.read_text()
    if "_RECORDS" not in text:
        text = text.replace("\n\nclass HookMissing", "\n_RECORDS: dict[str, bytes] = {}\n\n\nclass HookMissing")
    for hook in hooks:
        missing = f'raise HookMissing("MybackendStorage.{hook}() is still to be written")'
        assert missing in text
        text = text.replace(missing, _IN_A_DICT[hook])
    storage.write_text(text)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    scaffold.create("mybackend", tmp_path)
    return tmp_path / "satchel-mybackend"


def test_the_files_are_those_of_a_package_of_this_repository(tmp_path: Path) -> None:
    files = scaffold.create("sqlite", tmp_path)
    made = {file.relative_to(tmp_path / "satchel-sqlite").as_posix() for file in files}
    kept = {file.relative_to(REFERENCE).as_posix() for file in REFERENCE.rglob("*") if file.suffix != ".pyc"}
    assert made <= kept
    ours = ("tests/", "changelog.d/")
    assert {name for name in kept if not name.startswith(ours) and (REFERENCE / name).is_file()} <= made


def test_the_project_is_declared_as_one_of_this_repository(tmp_path: Path) -> None:
    scaffold.create("sqlite", tmp_path)
    made = tomllib.loads((tmp_path / "satchel-sqlite/pyproject.toml").read_text())
    kept = tomllib.loads((REFERENCE / "pyproject.toml").read_text())
    made_project, kept_project = made["project"], kept["project"]
    for varies in ("description", "authors", "dependencies", "entry-points"):
        assert type(made_project.pop(varies)) is type(kept_project.pop(varies))
    assert made_project == kept_project
    assert made["build-system"] == kept["build-system"]
    assert made["tool"]["hatch"] == kept["tool"]["hatch"]
    assert made["dependency-groups"]["test"][0].startswith("satchel-conformance[containers]>=")


def test_a_fresh_package_fails_clause_by_clause_and_names_the_hooks(package: Path) -> None:
    done = run_tests(package, "-k", "R1-absent-is-none or R0-protocol or R1-delete-absent or R4-refuses-namespaces")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    for hook in ("get", "put", "drop"):
        assert f"  happened  HookMissing: MybackendStorage.{hook}() is still to be written" in done.stdout
    assert "R1-absent-is-none: A key that was never written reads as None." in done.stdout
    assert "Traceback" not in done.stderr


def test_each_hook_that_is_written_makes_clauses_pass(package: Path) -> None:
    write_hooks(package, "get")
    assert run_tests(package, "-k", "R1-absent-is-none").returncode == pytest.ExitCode.OK
    assert run_tests(package, "-k", "R1-falsy-is-present").returncode == pytest.ExitCode.TESTS_FAILED
    write_hooks(package, "put")
    assert run_tests(package, "-k", "R1-falsy-is-present").returncode == pytest.ExitCode.OK


def test_with_the_three_hooks_written_every_clause_passes(package: Path) -> None:
    write_hooks(package, "get", "put", "drop")
    done = run_tests(package)
    assert done.returncode == pytest.ExitCode.OK, done.stdout


def test_once_installed_it_is_found_by_its_url(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    scaffold.create("my-backend", tmp_path, url_scheme="my+tls")
    package = tmp_path / "satchel-my-backend"
    built = run(package, "-m", "hatchling", "build", "-t", "wheel", path=package)
    assert built.returncode == 0, built.stderr
    (wheel,) = package.glob("dist/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        assert "satchel_my_backend/py.typed" in archive.namelist()
    program = "import satchel; print(satchel.open_storage('my+tls://example.com?namespace=bot'))"
    done = run(tmp_path, "-c", program, path=tmp_path / "site")
    assert done.stdout == "<MyBackendStorage my+tls://example.com>\n", done.stderr


def test_what_it_makes_is_clean(tmp_path: Path) -> None:
    for file in scaffold.create("cloud-spanner", tmp_path):
        text = file.read_text()
        assert "$" not in text
        assert max(map(len, text.splitlines()), default=0) <= 120
        if file.suffix == ".py":
            compile(text, file, "exec")


@pytest.mark.parametrize(
    "name",
    ["", "My", "my backend", "my_backend", "1st", "-my", "my-", "a--b", "../my", "mÿ", "satchel-my", "conformance"],
)
def test_a_name_that_a_package_cannot_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(scaffold.InvalidNameError):
        scaffold.create(name, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheme", ["My", "my://", "my scheme", "1st", '"'])
def test_a_scheme_that_a_url_cannot_have_is_refused(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(scaffold.InvalidNameError):
        scaffold.create("mybackend", tmp_path, url_scheme=scheme)
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "satchel-mybackend").mkdir()
    (tmp_path / "satchel-mybackend/pyproject.toml").write_text("mine")
    with pytest.raises(scaffold.FolderExistsError, match="satchel-mybackend exists already"):
        scaffold.create("mybackend", tmp_path)
    assert [file.read_text() for file in tmp_path.rglob("*.toml")] == ["mine"]


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(scaffold.ScaffoldError, match="file"):
        scaffold.create("mybackend", tmp_path / "file")
    with pytest.raises(scaffold.ScaffoldError, match="cannot be written"):
        scaffold.create("mybackend", tmp_path / "file" / "below")


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    files = scaffold.create("mybackend", tmp_path / "a" / "b")
    assert all(file.is_relative_to(tmp_path / "a" / "b" / "satchel-mybackend") and file.exists() for file in files)
