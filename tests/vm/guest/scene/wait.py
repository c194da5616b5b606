"""Waits for conditions: checks them after each uevent of the kernel, and at short intervals."""

import os
import time

from .expect import Failed, Forbidden
from .uevents import Uevents

# Seconds between two checks without an event.
POLL = 0.02
# Factor for timeouts, at least 1: the speed of this host relative to an idle emulated one, as measured by the runner during
# the boot. Limits for speed are the task of `compare`.
PATIENCE = float(os.environ.get("PATIENCE", "1"))


def wait_until(predicate, timeout, what, poll=POLL):
    """Waits until `predicate` returns a true value. Returns this value and the seconds that it took.

    `what`: a sentence that names the expected result, or a function that returns the expected and the actual result.
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
    """Checks that `predicate` stays true for this time."""
    end = time.monotonic() + seconds
    with Uevents() as events:
        while time.monotonic() < end:
            events.read()
            if not predicate():
                raise Forbidden(f"expected for {seconds:g} s: {what}")
            events.wait(poll)
