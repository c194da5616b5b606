"""Assertions. Each failure prints the expected and the actual result."""


class Failed(Exception):
    """The scenario has failed."""


class Forbidden(Failed):
    """Something happened that must never happen. There is no second run."""


class Skip(Exception):
    """The scenario cannot run here; the text gives the reason."""


def check(condition, expected, seen=None):
    """Fails if the sentence `expected` is not true, and prints `seen`."""
    if not condition:
        raise Failed(f"expected: {expected}" + ("" if seen is None else f"\n    seen: {seen}"))


def equal(seen, expected, what):
    check(seen == expected, f"{what}: {expected!r}", repr(seen))


def skip(why):
    raise Skip(why)
