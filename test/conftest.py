"""SBX_SHARD=1/2 runs the first half of what was chosen, so that two processes share the work of a machine.

A module's tests stay together: they share clusters."""
import os
import zlib


def pytest_collection_modifyitems(config, items):
    shard = os.environ.get("SBX_SHARD")
    if not shard:
        return
    number, count = map(int, shard.split("/"))
    # Big modules are split by kind as well: "[http" and "[nats" have clusters of their own.
    mine = [i for i in items if zlib.crc32((i.location[0] + str("[nats" in i.name)).encode()) % count == number - 1]
    config.hook.pytest_deselected(items=[i for i in items if i not in mine])
    items[:] = mine
