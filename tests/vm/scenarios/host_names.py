"""Of a host name with several addresses, the one that can be connected is used. When the name gets another address, everything is connected there before it is disconnected from the old one, and the log says why."""

from scene import check, daemons, host, journal, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
HOSTS = "/etc/hosts"
NAME = "array.example"
# STALE is unreachable. OTHER is a second address of this machine.
STALE, OTHER = "198.51.100.9", "192.0.2.77"


def play():
    target.three()
    with open(HOSTS) as file:
        before = file.read()
    host.run("ip", "address", "add", f"{OTHER}/32", "dev", "lo")
    try:
        leads_to(before, STALE, "::1")
        stafd.configure(f"[Controllers]\ncontroller=transport=tcp;traddr={NAME};trsvcid=8009\n")
        stacd.configure(f"[Controllers]\ncontroller=transport=tcp;traddr={NAME};trsvcid=8009;nqn={target.KLINGONS}\n")
        daemons.start()
        host.wait_live(*target.THREE, timeout=60)
        check({each.traddr for each in host.controllers()} == {"::1"}, "all are connected at ::1", host.picture())

        leads_to(before, OTHER)
        for each in daemons.BOTH:
            each.reload()
        wait_until(moved, 90, lambda: f"all are connected at {OTHER} only\n{host.picture()}", poll=0.05)
        journal.wait_for(f"disconnecting: .*controller= in .*, now uses the address {OTHER} of its host name {NAME}", 20, "stafd")
        host.wait_live(*target.THREE)
    finally:
        with open(HOSTS, "w") as file:
            file.write(before)
        host.run("ip", "address", "delete", f"{OTHER}/32", "dev", "lo")


def leads_to(hosts, *addresses):
    with open(HOSTS, "w") as file:
        file.write(hosts + "\n" + "".join(f"{address} {NAME}\n" for address in addresses))


def moved():
    """True at the end of the move. Until then, each subsystem always has a live connection."""
    check(all(host.live(nqn) for nqn in target.THREE), "no subsystem loses its last connection", host.picture())
    return {each.traddr for each in host.controllers()} == {OTHER}
