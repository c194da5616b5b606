"""What a scenario is written with.

    target      the storage: the kernel's nvmet
    appliance   the target machine, when there is one: a machine of its own that can be reset
    cdc         a centralized discovery controller, which misbehaves on demand
    raw_dc      a discovery controller that lists whatever bytes a scenario wants
    host        what this host is connected to, and proof that nothing was lost
    daemons     stafd and stacd under systemd
    network     interfaces, portals that swallow what they get
    announcer   discovery controllers that announce themselves by mDNS, and those who only pretend to
    journal     what the daemons said
    measure     numbers that end up in the report
    compare     seconds, bounded by a multiple of what something else needs in the same boot
    reference   that something: idle daemons under systemd, the kernel's own connects
    check ...   assertions that say what was expected and what was seen

A scenario is a module in scenarios/ with a docstring of one sentence, a function `play`, and if need be LIMIT (seconds),
ACPI_TABLES (files of tables/ that the machine's firmware shall have), TARGET_MACHINE (True: with a second machine),
WIDE_BOUNDS (True: what it measures stays within its bounds with another machine beside it) and COVERAGE (False: it does
what others do, only faster or more often, which instrumented programs cannot: `make coverage` leaves it out).
"""

from . import announcer, appliance, cdc, daemons, host, journal, network, raw_dc, reference, target
from .expect import Failed, Forbidden, Skip, check, equal, skip
from .numbers import compare, measure, note
from .wait import stays, wait_until

__all__ = ["Failed", "Forbidden", "Skip", "announcer", "appliance", "cdc", "check", "compare", "daemons", "equal", "host", "journal", "measure", "network", "note",
           "raw_dc", "reference", "skip", "stays", "target", "wait_until"]
