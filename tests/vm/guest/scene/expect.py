"""Assertions. Each failure says what was expected and what was seen."""


class Failed(Exception):
    """The scenario's promise does not hold."""


class Forbidden(Failed):
    """What must never happen has happened. There is no second try."""


class Skip(Exception):
    """The scenario cannot be played here; the text says why."""


def check(condition, expected, seen=None):
    """`expected` is a sentence that must be true; `seen` is shown when it is not."""
    if not condition:
        raise Failed(f"expected: {expected}" + ("" if seen is None else f"\n    seen: {seen}"))


def equal(seen, expected, what):
    check(seen == expected, f"{what}: {expected!r}", repr(seen))


def skip(why):
    raise Skip(why)
