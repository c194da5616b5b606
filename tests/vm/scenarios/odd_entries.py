"""Damaged entries of a log page (invalid port, address or NQN) and moved subsystems never disconnect storage."""

from scene import check, daemons, host, journal, raw_dc, stays, target, wait_until
from scene.daemons import stacd, stafd
from scene.raw_dc import entry

LIMIT = 300
NAMES = [f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("a", "b", "c", "d")]
CAFE = "nqn.2014-08.org.nvmexpress:scene:café"
KEPT = NAMES[-1]
GOOD = [entry(nqn) for nqn in NAMES[:-1]]
# Damaged forms of the entry of a live subsystem.
DAMAGED = {
    "no port": entry(KEPT, trsvcid=""),
    "port 0": entry(KEPT, trsvcid="0"),
    "port none": entry(KEPT, trsvcid="none"),
    "port 65536": entry(KEPT, trsvcid="65536"),
    "port 04420": entry(KEPT, trsvcid="04420"),
    "a name for an address": entry(KEPT, traddr="storage.example"),
    "a line feed in the address": entry(KEPT, traddr="127.0.0.1\n"),
    "an unknown transport": entry(KEPT, trtype=77),
    "an unknown subtype": entry(KEPT, subtype=9),
    "an NQN of 224 bytes": entry("n" * 224),
    "an NQN of 256 bytes": entry("n" * 256),
    "an NQN with a NUL inside": entry(KEPT.encode() + b"\0rest"),
    "an NQN that is not UTF-8": entry(KEPT.encode() + b"\xff"),
}


def play():
    with target.together():
        target.port(traddr="127.0.0.1", trsvcid="4420")
        for nqn in NAMES:
            target.subsystem(nqn)
    dc = raw_dc.RawDc()
    dc.page(*GOOD, entry(KEPT))
    daemons.configure("transport=tcp;traddr=127.0.0.1;trsvcid=8009")
    daemons.start()
    host.wait_live(*NAMES)
    stays(lambda: all_live(NAMES), 31, "the connection to the discovery controller settles")
    with host.nothing_lost():
        for what, odd in DAMAGED.items():
            damaged(dc, what, odd)
    utf_8(dc)
    others_are_removed(dc)
    moved(dc)
    refused_configuration()
    dc.close()


def all_live(nqns):
    return all(host.live(nqn) for nqn in nqns)


def lists(dc, *entries):
    """Lists these entries, and waits until stafd has read them."""
    before = pages_read()
    dc.page(*entries)
    wait_until(lambda: pages_read() > before, 10, "stafd reads the page", poll=0.05)


def pages_read():
    return journal.text("stafd").count("log page read")


def damaged(dc, what, odd):
    lists(dc, *GOOD, odd)
    stays(lambda: all_live(NAMES), 2, f"all are live with {what}")
    lists(dc, *GOOD, entry(KEPT))


def utf_8(dc):
    """A subsystem whose NQN is not ASCII is connected, and removed when it is no longer listed."""
    target.subsystem(CAFE)
    lists(dc, *GOOD, entry(KEPT), entry(CAFE))
    host.wait_live(CAFE)
    lists(dc, *GOOD, entry(KEPT))
    host.wait_gone(CAFE)


def others_are_removed(dc):
    """A damaged entry does not hold back the removal of the others for ever, except for those that it may mean."""
    rest = GOOD[1:]
    without_nqn = entry("n" * 224)
    lists(dc, *GOOD, entry(KEPT), without_nqn)
    dc.page(*rest, entry(KEPT), without_nqn)
    device = host.live(NAMES[0])[0].device
    journal.wait_for(f"{device} - .*has no valid entry for it, but a damaged one that may be its entry: it stays connected", 20, "stacd")
    stays(lambda: all_live(NAMES), 15, "an entry without a readable NQN at the same address")
    dc.page(*rest, entry(KEPT))
    host.wait_gone(NAMES[0])
    dc.page(*GOOD, entry(KEPT))
    host.wait_live(NAMES[0])
    elsewhere = entry("n" * 224, traddr="127.0.0.9")
    for what, odd in (("a damaged port", [entry(KEPT, trsvcid="none")]), ("an NQN of 224 bytes elsewhere", [entry(KEPT), elsewhere])):
        lists(dc, *GOOD, *odd)
        with host.nothing_lost(only=lambda each: each.nqn != NAMES[0]):
            dc.page(*rest, *odd)
            host.wait_gone(NAMES[0])
            stays(lambda: all_live(NAMES[1:]), 2, f"the others stay, with {what}")
        dc.page(*GOOD, entry(KEPT))
        host.wait_live(NAMES[0])


def moved(dc):
    """A subsystem that moves is connected at its new address before the old connection ends."""
    # The kernel listens on a port when a subsystem is linked to it: everything else is done before the ten seconds begin.
    target.port(2, traddr="127.0.0.2", trsvcid="4420")
    dc.page(*GOOD, entry(KEPT, traddr="127.0.0.2"))
    stays(lambda: host.live(KEPT), 2, "the old connection stays while the new address does not answer")
    least = [1]
    target.link(KEPT, port=2)

    def has_moved():
        live = host.live(KEPT)
        least[0] = min(least[0], len(live))
        return {each.traddr for each in host.with_nqn(KEPT)} == {"127.0.0.2"} and live
    wait_until(has_moved, 30, lambda: f"it is connected at the new address alone\n{host.picture()}")
    check(least[0], "it had a live connection all the time", host.picture())


def refused_configuration():
    """stacd.conf with the discovery NQN: the line is refused and reported, and no connection is lost."""
    nqn = host.DISCOVERY_NQN
    with host.nothing_lost():
        stacd.configure(f"[Controllers]\ncontroller=transport=tcp;traddr=127.0.0.1;trsvcid=8009;nqn={nqn}\n")
        stacd.reload()
        said = wait_until(lambda: [line for line in journal.messages("stacd") if "stacd.conf:2" in line and "discovery" in line],
                          10, "stacd refuses the line")[0]
        check(said, "the line and the reason are in the log")
        check(all(each["subsysnqn"] != nqn for each in stacd.controllers()), "stacd does not list it", stacd.controllers())
    check(stafd.controllers(), "stafd still has its discovery controller")
