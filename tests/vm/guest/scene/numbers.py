"""Numbers for the report. A number over its bound fails the scenario at its end, so that the other numbers are taken too.

Instrumented programs (`make coverage`, `make sanitize`) are slow: their numbers are not judged.
"""

from . import instruments

taken = []
notes = []


def measure(name, value, unit, at_most=None, peer=None):
    """Records `value`. `at_most` is the promise, `peer` what nvme-stas 2.4.1 needs, for the reader of the report."""
    missed = at_most is not None and value > at_most and not instruments.there()
    taken.append({"name": name, "value": round(value, 4), "unit": unit, "at_most": at_most, "peer": peer, "missed": missed})
    print(f"measured: {describe(taken[-1])}", flush=True)
    return value


def note(text):
    """A line for the log and the report."""
    notes.append(text)
    print(text, flush=True)


def describe(number):
    text = f"{number['name']}: {number['value']:.3g} {number['unit']}"
    if number["at_most"] is not None:
        text += f", at most {number['at_most']:g}"
    if number["peer"] is not None:
        text += f" [{number['peer']:g}]"
    return text + (" MISSED" if number["missed"] else "")


def missed():
    return [describe(number) for number in taken if number["missed"]]
