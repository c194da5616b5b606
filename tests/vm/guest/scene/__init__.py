"""The modules and functions for scenarios.

    target      the storage: the kernel's target, nvmet
    appliance   the second machine of a scenario with TARGET_MACHINE; it can be reset
    cdc         a centralized discovery controller with faults: cdcsim
    raw_dc      a discovery controller whose log page a scenario writes byte by byte
    host        the connections of this host, and checks that none was lost
    daemons     stafd and stacd under systemd
    package     the Debian package of this project, and that of nvme-stas 2.4.1
    fio         fio that verifies what it reads
    network     interfaces, other hosts, and portals that do not answer
    announcer   discovery controllers that announce themselves by mDNS, real and fake ones
    journal     the log lines of the daemons
    measure     records a number for the report
    compare     compares a time with a multiple of a reference time of the same boot
    reference   reference times: idle daemons under systemd, connects of the kernel alone
    check ...   assertions that print the expected and the actual result

tests/vm/README.md describes the variables of a scenario (LIMIT, ACPI_TABLES, TARGET_MACHINE, WIDE_BOUNDS, COVERAGE).
"""

from . import announcer, appliance, cdc, daemons, fio, host, journal, network, package, raw_dc, reference, target
from .expect import Failed, Forbidden, Skip, check, equal, skip
from .numbers import compare, measure, note
from .wait import stays, wait_until

__all__ = ["Failed", "Forbidden", "Skip", "announcer", "appliance", "cdc", "check", "compare", "daemons", "equal", "fio", "host", "journal", "measure", "network", "note",
           "package", "raw_dc", "reference", "skip", "stays", "target", "wait_until"]
