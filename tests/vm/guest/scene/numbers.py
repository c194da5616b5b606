"""Numbers for the report. A number over its limit fails the scenario at its end, so that all numbers are measured.

Instrumented programs (`make coverage`, `make sanitize`) are slow: their numbers are not judged.
"""

from . import instruments

taken = []
notes = []


def measure(name, value, unit, at_most=None, peer=None):
    """Records `value`. `at_most`: its limit. `peer`: the number of nvme-stas 2.4.1, for comparison in the report."""
    missed = at_most is not None and value > at_most and not instruments.there()
    taken.append({"name": name, "value": round(value, 4), "unit": unit, "at_most": at_most, "peer": peer, "missed": missed})
    print(f"measured: {describe(taken[-1])}", flush=True)
    return value


def compare(name, seconds, reference, what, at_most, delays=0.0, peer=None):
    """Records seconds, and their ratio to the reference time of `what` in the same boot. The limit applies to the ratio.

    `delays`: seconds of intended waits, the same on every host. They are subtracted before the ratio is computed.
    """
    measure(name, seconds, "s", peer=peer)
    without = f" without {delays:g} s of delays," if delays else ""
    return measure(f"{name},{without} as a multiple of {what}", max(0.0, seconds - delays) / reference, "x", at_most=at_most)


def note(text):
    """Returns the line for the log and the report."""
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
