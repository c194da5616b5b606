"""Waiting for conditions: woken by the kernel's uevents, and by a short poll for what has no event."""

import os
import time

from .expect import Failed, Forbidden
from .uevents import Uevents

# Between looks without an event, in seconds: what we measure must not suffer from our looking.
POLL = 0.02
# How many times longer than an idle emulated host this one takes (the runner knows it from the boot), at least 1. It
# stretches how long is waited for what must happen; how fast it must happen is for `compare` to say.
PATIENCE = float(os.environ.get("PATIENCE", "1"))


def wait_until(predicate, timeout, what, poll=POLL):
    """Waits until `predicate` returns something true, and returns (that, seconds it took).

    `what` is a sentence, or a function that makes it: what was expected, and for a function also what is there instead.
    """
    timeout *= PATIENCE
    start = time.monotonic()
    with Uevents() as events:
        while True:
            events.read()
            value = predicate()
            now = time.monotonic()
            if value:
                return value, now - start
            if now - start > timeout:
                sentence = what() if callable(what) else what
                raise Failed(f"expected within {timeout:g} s: {sentence}")
            events.wait(min(poll, start + timeout - now + 0.001))


def stays(predicate, seconds, what, poll=0.1):
    """Proves that `predicate` stays true for that long."""
    end = time.monotonic() + seconds
    with Uevents() as events:
        while time.monotonic() < end:
            events.read()
            if not predicate():
                raise Forbidden(f"expected for {seconds:g} s: {what}")
            events.wait(poll)
