"""Waiting with a bound. Sanitized binaries are slow: SBX_TIME_SCALE stretches every bound."""
import os
import time

SCALE = float(os.environ.get("SBX_TIME_SCALE", "1"))


def until(condition, seconds, what):
    """Polls condition() until it is true and returns its value; fails with `what` and the last value seen."""
    end = time.monotonic() + seconds * SCALE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what} (last: {value!r})")
        time.sleep(0.01)
