"""Properties: what must hold for any value and any key, tried on examples that Hypothesis chooses."""

from typing import Any

from hypothesis import strategies as st

from satchel_conformance import strategies
from satchel_conformance.bench import Bench
from satchel_conformance.checks import ClauseFailure, same, shown
from satchel_conformance.registry import clause
from satchel_conformance.trying import try_all


@clause("R2-any-value")
async def any_value(bench: Bench) -> None:
    """Any JSON value but None comes back exactly as it was written."""

    async def check(value: Any) -> None:
        await bench.storage.write("any", value)
        back = await bench.storage.read("any")
        if not same(back, value):
            raise ClauseFailure(f'await storage.write("any", {value!r}); await storage.read("any") == it', shown(back))

    several = st.lists(strategies.values, min_size=3, max_size=6)  # a request is worth more than one value
    await try_all(strategies.values | several, check, bench.profile.examples)


@clause("R2-any-value-batch", "batch")
async def any_values(bench: Bench) -> None:
    """Any JSON values but None come back exactly from a batch."""

    async def check(values: dict[str, Any]) -> None:
        await bench.storage.write_many(values)
        back = await bench.storage.read_many(values)
        for key, value in values.items():
            if key not in back or not same(back[key], value):
                raise ClauseFailure(f"await storage.write_many({values!r}); read_many gives it back", shown(back))

    batches = st.dictionaries(strategies.keys(bench.longest_key), strategies.values, min_size=1, max_size=4)
    await try_all(batches, check, bench.profile.examples // 2)


@clause("R4-any-keys")
async def any_keys(bench: Bench) -> None:
    """Any two different keys are two records: each keeps its own value, and deleting one leaves the others."""

    async def check(keys: list[str]) -> None:
        program = "".join(f"await storage.write({key!r}, {number}); " for number, key in enumerate(keys))
        left = keys
        try:
            for number, key in enumerate(keys):
                await bench.storage.write(key, number)
            first = await bench.storage.read(keys[0])
            if first != 0:
                raise ClauseFailure(f"{program}await storage.read({keys[0]!r}) == 0", shown(first))
            await bench.storage.delete(keys[0])
            left = keys[1:]
            found = [await bench.storage.read(key) for key in keys]
            if found != [None, *range(1, len(keys))]:
                raise ClauseFailure(f"{program}await storage.delete({keys[0]!r}); the others stay", shown(found))
        finally:
            for key in left:
                await bench.storage.delete(key)

    await try_all(strategies.keys_alike(bench.longest_key), check, bench.profile.examples)


@clause("R4-any-key-listed", "listing")
async def any_key_listed(bench: Bench) -> None:
    """Any key is listed as it was written, under any of its own starts, and under no other."""

    async def check(keys: list[str]) -> None:
        try:
            for key in keys:
                await bench.storage.write(key, 1)
            for prefix in ("", keys[0], keys[0][: len(keys[0]) // 2], keys[0] + "%"):
                listed = sorted([key async for key in bench.storage.keys(prefix)])
                expected = sorted(key for key in keys if key.startswith(prefix))
                if listed != expected:
                    raise ClauseFailure(f"of {keys!r}, keys({prefix!r}) gives {shown(expected)}", shown(listed))
        finally:
            for key in keys:
                await bench.storage.delete(key)

    await try_all(strategies.keys_alike(min(bench.longest_key, 100)), check, bench.profile.programs // 2)
