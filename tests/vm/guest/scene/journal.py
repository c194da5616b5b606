"""The log lines of the daemons since the beginning of the scenario."""

import json
import re

from .expect import Failed
from .host import run
from .wait import wait_until

UNITS = ("stafd", "stacd")
_cursor = None


def mark():
    """Sets the beginning to the current end of the journal."""
    global _cursor
    text = run("journalctl", "--quiet", "--lines=0", "--show-cursor", check=False).stdout
    found = re.search(r"-- cursor: (\S+)", text)
    _cursor = found and found.group(1)


def _command(units):
    command = ["journalctl", "--quiet", "--no-pager"]
    if _cursor:
        command.append(f"--after-cursor={_cursor}")
    return command + [f"--unit={unit}" for unit in units]


def text(*units):
    """Returns the lines of both daemons as text."""
    return run(*_command(units or UNITS), "--output=short-precise")


def kernel():
    """Returns the kernel log."""
    after = [f"--after-cursor={_cursor}"] if _cursor else []
    return run("journalctl", "--quiet", "--no-pager", "--dmesg", "--output=short-precise", *after)


def messages(*units):
    """Returns the messages without other fields, oldest first."""
    return run(*_command(units or UNITS), "--output=cat").splitlines()


def entries(*units, since=0.0):
    """Returns the entries with all fields. `since`: only those that the journal has received after this time (time.monotonic)."""
    found = map(json.loads, run(*_command(units or UNITS), "--output=json").splitlines())
    return [each for each in found if int(each["__MONOTONIC_TIMESTAMP"]) > since * 1e6]


def wait_for(pattern, timeout=10.0, *units):
    """Waits until a message matches. Returns it."""
    return wait_for_all(pattern, 1, timeout, *units)[0]


def wait_for_all(pattern, count, timeout=10.0, *units):
    """Waits until at least `count` messages match. Returns all that match, oldest first.

    A message may come late, because the daemons write to the journal in a thread, and journalctl may omit messages for a
    moment. So `messages` alone does not show that a message is missing.
    """
    def find():
        found = [line for line in messages(*units) if re.search(pattern, line)]
        return found if len(found) >= count else None
    try:
        return wait_until(find, timeout, f"messages like /{pattern}/, at least {count}", poll=0.2)[0]
    except Failed as failed:
        raise Failed(f"{failed}\n    seen: " + "\n          ".join(messages(*units)[-10:])) from None
