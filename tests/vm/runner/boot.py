"""Boots machines. If a boot fails, it is repeated.

Under emulation some boots fail: qemu executes an instruction while the kernel patches it (README.md, "Boots that
fail"). This has nothing to do with the programs under test.
"""

import sys

from .machine import Died, Machine

# Largest number of boots.
ATTEMPTS = 3


def machine(**how):
    """Returns a machine that has booted and has the install tree. `how`: see Machine.start."""
    return again(lambda: once(**how))


def once(**how):
    started = Machine.start(**how)
    try:
        started.serve()
    except BaseException:
        started.stop()
        raise
    return started


def again(boot):
    """Calls `boot`, and calls it again if it raises Died. Each failure prints one line."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return boot()
        except Died as died:
            if attempt == ATTEMPTS:
                raise
            report(f"{died}; booting again (attempt {attempt + 1} of {ATTEMPTS})")


def report(line):
    # The last line of the terminal may show the running scenario, or qemu may have left the terminal in raw mode.
    start, end = ("\r\x1b[K", "\r\n") if sys.stderr.isatty() else ("", "\n")
    print(start + line, end=end, file=sys.stderr, flush=True)
