"""Boots machines that are ready for work. A machine that dies while it boots is booted again.

Under emulation the kernel dies in some boots: qemu executes an instruction while the kernel patches it
(README.md, "Boots that die"). That says nothing about what is tested.
"""

import sys

from .machine import Died, Machine

# Boots in all.
ATTEMPTS = 3


def machine(**how):
    """A machine that has booted to the end and has the install tree. `how`: see Machine.start."""
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
    """What `boot` returns; repeats it when it raises Died, which takes one line each time."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return boot()
        except Died as died:
            if attempt == ATTEMPTS:
                raise
            report(f"{died}; booting again (attempt {attempt + 1} of {ATTEMPTS})")


def report(line):
    # A terminal may show what is being played, or be left raw by a shell's qemu.
    start, end = ("\r\x1b[K", "\r\n") if sys.stderr.isatty() else ("", "\n")
    print(start + line, end=end, file=sys.stderr, flush=True)
