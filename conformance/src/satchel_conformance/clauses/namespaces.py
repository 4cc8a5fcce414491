"""R4: a namespace keeps bots apart that share a backend."""

from itertools import chain

from satchel import ConfigurationError
from satchel_conformance.bench import Bench
from satchel_conformance.checks import expect_error, expect_same, shown
from satchel_conformance.registry import clause


async def _apart(bench: Bench, *places: tuple[str, str]) -> None:
    """See that places, each a namespace and a key, are records of their own, to write, to read and to delete."""
    storages = {namespace: await bench.another(namespace) for namespace in dict.fromkeys(place[0] for place in places)}
    every = tuple(enumerate(places, 1))
    first, second = every[::2], every[1::2]  # what looks alike stands side by side
    for number, (namespace, key) in every:
        expect_same(await storages[namespace].read(key), None, f"read before it is written: {_shown(namespace, key)}")
        await storages[namespace].write(key, number)
    for gone, left in (((), every), (first, second)):
        for _, (namespace, key) in gone:
            await storages[namespace].delete(key)
        for number, (namespace, key) in left:
            done = "all were written" + " and every other one deleted" * bool(gone)
            expect_same(await storages[namespace].read(key), number, f"read when {done}: {_shown(namespace, key)}")


def _shown(namespace: str, key: str) -> str:
    return f"namespace …{shown(namespace)}, key {shown(key)}"


@clause("R4-namespaces-apart", "shared")
async def apart(bench: Bench) -> None:
    """The same key in two namespaces is two records, to write, to read and to delete."""
    await _apart(bench, ("a", "key"), ("b", "key"))


@clause("R4-namespaces-injective", "shared")
async def injective(bench: Bench) -> None:
    """A namespace and a key are never the same record as another namespace and key: `a` + `b:c` is not `a:b` + `c`."""
    pairs = [
        (("a", "b:c"), ("a:b", "c")),
        (("a", ":b"), ("a:", "b")),
        (("a", "::b"), ("a::", "b")),
        (("a:b", "d"), ("a%3Ab", "d")),
        (("a%", "b"), ("a", "%b")),
        (("a/b", "c"), ("a", "b/c")),
        (("a/..", "b"), ("", "b")),
        (("a\0", "b"), ("a", "\0b")),
        (("a.", "b"), ("a", ".b")),
    ]
    await _apart(bench, *chain.from_iterable(pairs))


@clause("R4-namespaces-longest", "shared")
async def longest(bench: Bench) -> None:
    """A namespace may have 128 bytes, and the last one counts."""
    most = "n" * (127 - len(bench.namespace))
    await _apart(bench, (most + "a", "key"), (most + "z", "key"))


@clause("R4-namespaces-look-alike", "shared")
async def look_alike(bench: Bench) -> None:
    """Namespaces that differ in case, in normalisation, in a trailing character or in length are different."""
    namespaces = ["a", "A", "a ", "a.", "a:", "aa", "é", "e\u0301"]
    await _apart(bench, *((namespace, "key") for namespace in namespaces))


@clause("R4-namespaces-listed-apart", "shared", "listing")
async def listed(bench: Bench) -> None:
    """keys() gives the keys of its own namespace only, also where one is the start of another, or looks a pattern."""
    namespaces = ["a", "a:", "a:b", "ab", "a*", "a?", "a[b]", "a%", "a_", "A", "a\\*", "{a}"]
    storages = [await bench.another(namespace) for namespace in namespaces]
    for index, storage in enumerate(storages):
        await storage.write("b", index)
        await storage.write(f"own:{index}", index)
    for index, storage in enumerate(storages):
        listed = sorted([key async for key in storage.keys()])
        expect_same(listed, ["b", f"own:{index}"], f"keys() in the namespace …{shown(namespaces[index])}")
        listed = [key async for key in storage.keys("own:")]
        expect_same(listed, [f"own:{index}"], f'keys("own:") in the namespace …{shown(namespaces[index])}')


@clause("R4-namespaces-batched-apart", "shared", "batch")
async def batched(bench: Bench) -> None:
    """read_many, write_many and delete_many stay in their namespace."""
    first, second = await bench.another("one"), await bench.another("two")
    await first.write_many({"x": 1, "y": 1})
    expect_same(await second.read_many(["x", "y"]), {}, "read_many in another namespace")
    await second.delete_many(["x", "y"])
    expect_same(await first.read_many(["x", "y"]), {"x": 1, "y": 1}, "read_many after delete_many in another namespace")


@clause("R4-namespace-refused")
async def refused(bench: Bench) -> None:
    """A namespace that is empty, is no string or has a lone surrogate is refused when the storage is made."""
    bench.need_option("namespace")
    for namespace in ("", None, 1, b"bot", "a\ud800"):
        with expect_error(ConfigurationError, f"a storage with the namespace {namespace!r}"):
            await bench.build(namespace=namespace)
