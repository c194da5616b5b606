"""play.py NAME [--peer]: runs one scenario in the guest, and writes its outcome to /results/NAME.json.

Exit status: 0 if the scenario ended, with any outcome; otherwise the machine cannot be used for the next scenario.
"""

import importlib.util
import json
import math
import pathlib
import signal
import sys
import time
import traceback

from scene import Failed, Forbidden, Skip, appliance, cdc, daemons, host, instruments, journal, numbers, room, wait

SCENARIOS = pathlib.Path("/harness/scenarios")
RESULTS = pathlib.Path("/results")


class OutOfTime(Exception):
    """The scenario has reached its LIMIT."""


def main():
    name = sys.argv[1]
    peer = "--peer" in sys.argv
    spec = importlib.util.spec_from_file_location(name, SCENARIOS / f"{name}.py")
    scenario = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(scenario)
    limit = getattr(scenario, "LIMIT", 60)

    def ring(*_):
        raise OutOfTime

    signal.signal(signal.SIGALRM, ring)
    start = time.monotonic()
    outcome, why, final, fit = "ERROR", "", False, True
    try:
        instruments.begin()
        room.enter()
        journal.mark()
        if peer:
            daemons.use_peer()
        elif getattr(scenario, "NEEDS_DAEMONS", True) and (missing := [each.name for each in daemons.BOTH if not each.installed()]):
            raise Failed(f"expected: {' and '.join(missing)} installed (VM_INSTALL_TREE)\n    seen: no such unit")
        start = time.monotonic()
        signal.alarm(math.ceil(limit * wait.PATIENCE))
        scenario.play()
        signal.alarm(0)
        outcome = "PASSED"
        if missed := numbers.missed():
            raise Failed("expected: every number within its bound\n    seen: " + "\n          ".join(missed))
    except Skip as skip:
        outcome, why = "SKIPPED", str(skip)
    except Failed as failed:
        outcome, why, final = "FAILED", str(failed), isinstance(failed, Forbidden)
    except OutOfTime:
        outcome, why = "FAILED", f"expected: ready within {limit} s\n    seen: not ready"
        traceback.print_exc()
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        traceback.print_exc()
    signal.alarm(0)
    seconds = time.monotonic() - start
    if why:
        print(f"{outcome}: {why}", flush=True)
    if outcome in ("FAILED", "ERROR"):
        evidence()
    write(name, outcome, why, final, seconds)
    try:
        room.clean()
    except Exception:
        print("the room cannot be cleaned:")
        traceback.print_exc()
        fit = False
    # Both daemons are stopped now. Sanitizers report leaks when a program stops.
    if reports := instruments.hand_over():
        print(f"FAILED: a sanitizer reports\n{reports}", flush=True)
        write(name, "FAILED", f"expected: no report of a sanitizer\n    seen: {reports}", True, seconds)
    return 0 if fit else 1


def write(name, outcome, why, final, seconds):
    text = json.dumps({"outcome": outcome, "why": why, "final": final, "seconds": round(seconds, 2), "measurements": numbers.taken,
                       "notes": numbers.notes})
    (RESULTS / f"{name}.json.new").write_text(text)
    (RESULTS / f"{name}.json.new").rename(RESULTS / f"{name}.json")


def evidence():
    """Prints data for finding the cause of a failure."""
    show("controllers", lambda: host.picture())
    show("nvme list-subsys", lambda: host.run("nvme", "list-subsys", check=False).stdout)
    for each in daemons.BOTH:
        show(f"systemctl status {each}", lambda: host.run("systemctl", "status", "--lines=0", each.unit, check=False).stdout)
    show("journal", lambda: journal.text())
    show("cdcsim", cdc.evidence)
    show("target machine", appliance.evidence)
    show("kernel", lambda: "\n".join(journal.kernel().splitlines()[-60:]))


def show(title, get):
    try:
        text = get()
    except Exception as error:  # a failure here must not hide the failure of the scenario
        text = f"({type(error).__name__}: {error})"
    print(f"\n----- {title}\n{text.rstrip()}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
