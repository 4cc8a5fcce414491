"""What can be done with the workspace; `./dev --help` says how to call it from a fresh clone."""

import hashlib
import json
import os
import re
import shutil
import ssl
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from tools import backends, changelog, pythons, workspace

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv"
nox.options.download_python = "never"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests"]
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
# uv trusts and asks whom pip does: the certificates of this machine, where it has any, and the index of its user.
if ssl.get_default_verify_paths().cafile:
    os.environ.setdefault("UV_SYSTEM_CERTS", "true")
if "PIP_INDEX_URL" in os.environ:
    os.environ.setdefault("UV_DEFAULT_INDEX", os.environ["PIP_INDEX_URL"])

ROOT = workspace.ROOT
MEMBERS = {member.short: member for member in workspace.members()}
PROVEN = [name for name, member in MEMBERS.items() if (ROOT / member.folder / "tests/test_conformance.py").exists()]
PUBLISHED = {name: member for name, member in MEMBERS.items() if member.published}
INSTALLED = pythons.find()
OLDEST = MEMBERS["core"].pythons[0]
OLDEST_AND_NEWEST = list(dict.fromkeys([*INSTALLED[:1], *INSTALLED[-1:]]))

DEMO = ["core", "sqlite"]

# How the versions of a package's dependencies are chosen: the pins of requirements/, or freely within its bounds.
RESOLUTIONS = {
    "pinned": ("--constraint", "requirements/test.txt"),
    "lowest": ("--resolution", "lowest-direct"),
    "newest": ("--resolution", "highest"),
}


@nox.session
def demo(session: nox.Session) -> None:
    """Talk to the demo bot."""
    install(session, "demo", DEMO)
    session.run("satchel", "chat", *session.posargs)


@nox.session(python=OLDEST_AND_NEWEST)
def tests(session: nox.Session) -> None:
    """Every test on the newest Python of this machine; on the oldest, core, what is embedded, and the tools.

    The suites of the servers are thousands of tests: CI runs them for each package, on each Python.
    """
    install(session, "test", MEMBERS)
    if session.posargs or session.python == OLDEST_AND_NEWEST[-1]:
        not_run().tested(str(session.python))
        run_pytest(session, MEMBERS, *session.posargs)
        return
    embedded = [name for name, member in MEMBERS.items() if not member.images and name != "conformance"]
    not_run().tested(str(session.python), but="all that needs a server, which the newest ran")
    run_pytest(session, embedded, *(f"{MEMBERS[name].folder}/tests" for name in embedded), "tools/tests")


@nox.session(python=INSTALLED, reuse_venv=False)
@nox.parametrize(
    ("name", "resolution"),
    [nox.param(name, resolution, id=f"{name}-{resolution}") for name in MEMBERS for resolution in RESOLUTIONS],
)
def package(session: nox.Session, name: str, resolution: str) -> None:
    """The tests of one package, with nothing installed but what it asks for."""
    member = MEMBERS[name]
    itself = f"{member.folder}[{','.join(member.extras)}]" if member.extras else member.folder
    groups = ["--group", "test", *(f"--group={member.folder}/pyproject.toml:{group}" for group in member.groups)]
    session.install(*RESOLUTIONS[resolution], *groups, "-e", itself, "-e", "conformance[containers]")
    run_pytest(session, [name], f"{member.folder}/tests", *session.posargs)


@nox.session
@nox.parametrize("name", [nox.param(name, id=name) for name in PROVEN])
def conformance(session: nox.Session, name: str) -> None:
    """The conformance suite against one package."""
    install(session, "test", MEMBERS)
    run_pytest(session, [name], f"{MEMBERS[name].folder}/tests/test_conformance.py", *session.posargs)


@nox.session(python=OLDEST_AND_NEWEST[-1:])
def types(session: nox.Session) -> None:
    """Check types: with mypy for the oldest Python that is supported, with pyright for the newest here."""
    install(session, "types", MEMBERS)
    session.run("mypy", "--cache-dir", str(Path(session.virtualenv.location, "mypy")), "--python-version", OLDEST)
    session.run("pyright", env={"NODE_USE_SYSTEM_CA": "1", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, workflows, shell scripts and what must not be committed."""
    install(session, "lint")
    session.run("ruff", "check", "--output-format", "concise")
    session.run("ruff", "format", "--check")
    files = workspace.files()
    workflows = [file for file in files if file.startswith(".github/workflows/")]
    session.run("zizmor", "--offline", "--quiet", "--persona", "auditor", "--strict-collection", ".github")
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    session.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
    forms = [file for file in files if re.fullmatch(r"\.github/ISSUE_TEMPLATE/(?!config).*\.yml", file)]
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-forms", *forms)
    chooser = ".github/ISSUE_TEMPLATE/config.yml"
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-issue-config", chooser)
    session.run("shellcheck", "--severity", "warning", "--exclude", "SC1090", *workspace.shell_scripts(files))
    session.run("python", "-m", "tools.check_tree")
    for member in PUBLISHED.values():
        session.run(*changelog.towncrier(member, "--draft"), silent=True)


@nox.session(name="changelog")
def changelog_(session: nox.Session) -> None:
    """Show what the next release of each distribution (or of those named) brings; `--build NAME` writes it down."""
    install(session, "lint")
    build = session.posargs[:1] == ["--build"]
    names = session.posargs[1:] if build else session.posargs
    if build and len(names) != 1:
        session.error("say which one distribution is to be released: --build satchel-redis")
    for member in [workspace.released_by(name) for name in names] or PUBLISHED.values():
        session.log(f"{member.name} {member.version}")
        session.run(*changelog.towncrier(member, "--yes" if build else "--draft"), log=False)


@nox.session
def docs(session: nox.Session) -> None:
    """Make the documentation, in dist/docs; a warning, a dead link, or anything fetched from elsewhere is an error."""
    install(session, "docs", MEMBERS)
    shutil.rmtree(ROOT / "dist/docs", ignore_errors=True)
    where = ("-c", "docs", "-d", str(Path(session.create_tmp(), "doctrees")), ".", "dist/docs")
    session.run("sphinx-build", "--quiet", "--fail-on-warning", "--keep-going", *where, *session.posargs)
    session.log("open dist/docs/index.html")


@nox.session
def build(session: nox.Session) -> None:
    """Build into dist/ what the tags (or names) given release, else everything; try each wheel in an empty place."""
    install(session, "release")
    wanted = [workspace.released_by(tag) for tag in session.posargs] or list(PUBLISHED.values())
    for tag in session.posargs:
        if "/v" in tag and (why := changelog.unwritten(workspace.released_by(tag))):
            session.error(why)
    place = Path(session.create_tmp()).resolve()
    dist, aside, empty, ours = ROOT / "dist", place / "aside", place / "empty", place / "ours.txt"
    pinned = ("--build-constraints", "requirements/build.txt", "--require-hashes", "--quiet")
    for folder in (dist, aside):
        shutil.rmtree(folder, ignore_errors=True)
    # What one distribution needs of another comes from here, not from an index: it may not be published yet.
    for member in PUBLISHED.values():
        session.run("uv", "build", *pinned, "--wheel", "--out-dir", str(aside), member.folder)
    others = {wheel.name.split("-")[0]: wheel.as_uri() for wheel in aside.glob("*.whl")}
    for member in wanted:
        module = member.name.replace("-", "_")
        session.run("uv", "build", *pinned, "--out-dir", str(dist), member.folder)
        ours.write_text(
            "".join(f"{name} @ {uri}\n" for name, uri in others.items() if name != module), encoding="utf-8"
        )
        wheel = next(dist.glob(f"{module}-{member.version}-*.whl"))
        session.run("uv", "venv", "--quiet", "--clear", "--python", sys.executable, str(empty))
        session.run("uv", "pip", "install", "-q", "--no-sources", "-c", str(ours), "--python", str(empty), str(wheel))
        session.run(str(empty / "bin/python"), "-c", f"import {module}", external=True)
    session.run("twine", "check", "--strict", *map(str, dist.glob("satchel*")))


@nox.session
def scoreboard(session: nox.Session) -> None:
    """Try the suite on storages that others wrote, and write docs/scoreboard.md; `--check` only compares."""
    install(session, "peers", MEMBERS)
    provide(session, ["redis", "postgres"])
    session.run("python", "-m", "conformance.peers", *session.posargs)


@nox.session(python=OLDEST_AND_NEWEST[-1:])
def bench(session: nox.Session) -> None:
    """Measure: everything, or what is named: `nox -s bench -- drivers --quick`; see benchmarks/README.md."""
    install(session, "bench", MEMBERS)
    places = ("redis", "postgres", "mongodb", "dynamodb", "s3", "firestore", "supabase")
    provide(session, dict.fromkeys(image for name in places for image in MEMBERS[name].images))
    if shutil.which("npm"):  # for grammY, which is left out else
        folder = "benchmarks/peers/node"
        session.run_install(
            "npm",
            "install",
            "--no-package-lock",
            "--no-audit",
            "--no-fund",
            "--prefix",
            folder,
            external=True,
            silent=True,
        )
    if session.posargs[:1] == ["blocking"]:
        session.run("python", "-m", "benchmarks.blocking", *session.posargs[1:])
    else:
        session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill servers under a load of session updates, and print the figures; `--self-test` tries whether it notices."""
    install(session, "test", MEMBERS)
    provide(session, ["redis", "mongo", "postgres"])
    session.run("python", "-m", "conformance.chaos", *session.posargs)


@nox.session
def capabilities(session: nox.Session) -> None:
    """Write the tables of storages and bridges in the README, from what they declare."""
    install(session, "test", MEMBERS)
    session.run("python", "-m", "tools.capabilities")


@nox.session(reuse_venv=False)
@nox.parametrize("name", [nox.param(name, id=name) for name in MEMBERS if name != "conformance"])
def wheel(session: nox.Session, name: str) -> None:
    """The tests of one package's built wheel and its extras, in an empty place with nothing but what these ask for."""
    member = MEMBERS[name]
    place = Path(session.create_tmp()).resolve()
    shutil.rmtree(place, ignore_errors=True)
    pinned = ("--build-constraints", "requirements/build.txt", "--require-hashes", "--quiet", "--wheel")
    for one in MEMBERS.values():
        if one.short in ("core", "conformance", name) or one.name in member.tried_with | member.requires:
            session.run("uv", "build", *pinned, "--out-dir", str(place), one.folder, external=True)
    itself = f"{member.name}[{','.join(member.extras)}]" if member.extras else member.name
    session.install("--no-sources", "--find-links", str(place), "--constraint", "requirements/test.txt", itself)
    installed = session.run("uv", "pip", "list", "--format", "json", silent=True, stderr=None, log=False)
    ours = {found["name"] for found in json.loads(str(installed)) if found["name"].startswith("satchel")}
    if not ours <= {"satchel", member.name, *member.requires}:
        session.error(f"{member.name} brings {', '.join(sorted(ours))}")
    groups = ["--group", "test", *(f"--group={member.folder}/pyproject.toml:{group}" for group in member.groups)]
    conformance = ("--find-links", str(place), "satchel-conformance[containers]")
    session.install("--no-sources", "--constraint", "requirements/test.txt", *groups, *conformance)
    run_pytest(session, [name], f"{member.folder}/tests", *session.posargs)


@nox.session
def matrix(session: nox.Session) -> None:
    """Try every planted bug with every clause of the suite, and write docs/matrix.md; `--check` only compares."""
    install(session, "test", MEMBERS)
    session.run("python", "-m", "conformance.matrix", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write requirements/ anew; `--upgrade` takes the newest versions, else what still fits stays."""
    everything = ["--all-extras", "--group", "test", "--group", "grammy"]
    for member in MEMBERS.values():
        everything += [f"{member.folder}/pyproject.toml"]
        everything += [f"--group={member.folder}/pyproject.toml:{group}" for group in member.groups]
    runtime = ["--all-extras", *(f"{MEMBERS[name].folder}/pyproject.toml" for name in DEMO)]

    def compile_(name: str, *sources: str) -> None:
        options = ["--universal", "--python-version", pythons.SUPPORTED[0], "--generate-hashes", "--no-annotate"]
        options += ["--no-emit-index-url", "--no-header", "--quiet", *session.posargs]
        options += [f"--no-emit-package={member.name}" for member in MEMBERS.values()]
        session.run("uv", "pip", "compile", *options, *sources, "--output-file", f"requirements/{name}.txt")

    same = ("--constraint", "requirements/test.txt")
    compile_("test", *everything)
    compile_("types", *everything, "--group", "types", *same)
    compile_("peers", *everything, "--group", "peers")
    compile_("bench", *everything, "--group", "bench")
    compile_("demo", *runtime, *same)
    compile_("docs", *everything, "--group", "docs", *same)
    for name in ("bootstrap", "build", "lint", "release"):
        compile_(name, "--group", name)
    (ROOT / "requirements/inputs.sha256").write_text(workspace.digest() + "\n", encoding="utf-8")


@nox.session(name="format")
def format_(session: nox.Session) -> None:
    """Put the style right."""
    install(session, "lint")
    session.run("ruff", "check", "--fix-only")
    session.run("ruff", "format")


def install(session: nox.Session, pins: str, names: Iterable[str] = ()) -> None:
    """Install just what requirements/PINS.txt says and, from their folders, the distributions named; once."""
    wanted = [f"requirements/{pins}.txt", *(f"{MEMBERS[name].folder}/pyproject.toml" for name in names)]
    digest = hashlib.sha256(b"".join((ROOT / one).read_bytes() for one in wanted)).hexdigest()
    stamp = Path(session.virtualenv.location, "installed")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return
    session.run_install("uv", "pip", "sync", "--require-hashes", wanted[0], silent=True)
    editable = [argument for name in names for argument in ("--editable", MEMBERS[name].folder)]
    if editable:
        session.install("--no-deps", "--build-constraints", "requirements/build.txt", *editable)
    stamp.write_text(digest, encoding="utf-8")


def run_pytest(session: nox.Session, names: Iterable[str], *arguments: str) -> None:
    """Run pytest with the servers that the tests of these distributions want."""
    report = not_run()
    report.begun += 1
    provide(session, dict.fromkeys(image for name in names for image in MEMBERS[name].images))
    if session.run("pytest", "--numprocesses", "auto", *arguments):
        report.passed += 1


def provide(session: nox.Session, images: Iterable[str]) -> None:
    """See to it that there are containers with these images, or warn."""

    def probe(tags: list[str]) -> str:
        answer = session.run("python", "tools/containers.py", *tags, silent=True, log=False, stderr=None)
        return str(answer or "")

    if why := backends.provide(images, probe):
        session.warn(why)


@cache
def not_run() -> backends.NotRun:
    """The one report of this run of nox, printed when it ends."""
    return backends.NotRun(INSTALLED, OLDEST_AND_NEWEST)
