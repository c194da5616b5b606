"""No fault of the CDC disconnects storage, and after the fault ends the host follows the CDC's log page again."""

import time

from scene import cdc, daemons, equal, host, measure, note, stays, wait_until
from scene.daemons import stafd

LIMIT = 300
WIDE_BOUNDS = True  # the measured times are a fraction of the limits
# Seconds that a storm of events takes.
STORM = 5
FIRST, SECOND = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("first", "second"))
MALFORMED = ("blank", "ones", "subtype", "transport", "family", "other-family", "no-nqn", "long-nqn", "control", "comma",
             "no-address", "address", "unspecified", "port")
# Faults of a log page. The connection is kept.
PAGES = (("log-page-status", "0x006"), ("log-page-status", "0x4006"), ("restless",), ("numrec", 1 << 40), ("numrec", 7),
         *[("malformed", kind) for kind in MALFORMED], ("register-status", "0x12f"), ("duplicate-events",), ("delay", 300))


def play():
    neighbour, _ = cdc.fabric(FIRST, SECOND)
    dc = cdc.Cdc(lives_at=neighbour)
    offer(dc)
    daemons.configure("transport=tcp;traddr=192.0.2.2;trsvcid=8009", stafd_global="kato=2\nreconnect-delay=1\nctrl-loss-tmo=600")
    daemons.start()
    host.wait_live(FIRST, SECOND)
    with host.nothing_lost(only=lambda each: not each.is_dc):
        for fault in PAGES:
            of_a_page(dc, fault)
        once_empty(dc)
        storm(dc)
        dropped(dc)
        broken(dc, lambda: dc("fault", "--times=1", "reset-log-page") and dc("event"), "reset in the middle of a page")
        broken(dc, lambda: dc("disconnect"), "reset")
        broken(dc, lambda: dc("fault", "--seconds=8", "ignore-keep-alive"), "keep alive ignored")
        broken(dc, lambda: dc("fault", "--seconds=3", "refuse") and dc("disconnect"), "refused for 3 s")
        broken(dc, lambda: dc("vanish", 3, "--cntlid=500"), "another controller ID", is_back=lambda: numbers(dc) >= {500})
        broken(dc, lambda: dc("vanish", 1, "--nqn=nqn.2014-08.org.nvmexpress:scene:renamed"), "another NQN")
        forgetful(dc)


def offer(dc):
    dc.add("first", cdc.STORAGE, nqn=FIRST)
    dc.add("second", cdc.STORAGE, nqn=SECOND)
    dc.zone_in("first", "second")


def news(dc):
    """Changes the flag of one entry, and waits until stafd's page shows it. Returns the seconds."""
    before = time.monotonic()
    old = flag()
    value = "0" if old == "4" else "4"
    dc("set", "ncc", "first", "on" if value == "4" else "off")
    wait_until(lambda: flag() == value, 20, lambda: f"stafd reads the change\n    seen: {stafd.log_pages()}", poll=0.02)
    return time.monotonic() - before


def flag():
    return next((entry["eflags"] for each in stafd.log_pages() for entry in each["log-pages"] if entry["subnqn"] == FIRST), None)


def numbers(dc):
    return {each["cntlid"] for each in dc.connections() if each["cntlid"]}


def after_all_reads(dc):
    """Makes stafd read the page once more, so that no earlier read is still running. Returns the number of Get Log Page commands so far."""
    (each,) = stafd.controllers()
    names = [each.get(key, "") for key in ("transport", "traddr", "trsvcid", "subsysnqn", "host-traddr", "host-iface", "host-nqn")]
    host.run("busctl", "call", f"{stafd.bus}.root", stafd.path, stafd.bus, "refresh_log_pages", "sssssss", *names)
    return dc.count("get-log-page")


def of_a_page(dc, fault):
    reads = after_all_reads(dc)
    dc("fault", *fault)
    dc("event")
    if fault[0] != "register-status":
        wait_until(lambda: dc.count("get-log-page") > reads, 5, f"{fault}: stafd reads", poll=0.02)
    stays(lambda: host.live(FIRST) and host.live(SECOND), 0.5, f"both are live despite {fault}")
    equal(sorted(set(stafd.listed_subsystems()) & {FIRST, SECOND}), [FIRST, SECOND], f"the page, despite {fault}")
    used = dc.count("get-log-page") - reads
    dc("heal")
    took = news(dc)
    note(f"{' '.join(map(str, fault))}: {used} reads, followed {took:.2f} s after it was over")


def once_empty(dc):
    """An empty page would remove two connections: it is read again, and then lists them."""
    dc("fault", "--times=1", "empty")
    dc("event")
    wait_until(lambda: not dc("show")["faults"], 5, "the empty page is read", poll=0.02)
    stays(lambda: host.live(FIRST) and host.live(SECOND), 7, "both are live after one empty page")
    news(dc)


def storm(dc):
    """1,000 events a second, or as many as the kernel requests. What is left of them is worked off in twice their time."""
    reads, events = dc.count("get-log-page"), dc.count("event")
    dc("fault", "storm", 1000)
    stays(lambda: host.live(FIRST) and host.live(SECOND), STORM, "both are live in a storm")
    reads, events = dc.count("get-log-page") - reads, dc.count("event") - events
    dc("heal")
    note(f"storm: {events} events and {reads} reads in {STORM} s")
    measure("storm: back to normal, as a multiple of its length", news(dc) / STORM, "x", at_most=2)


def dropped(dc):
    """A change without an event is seen at the next event."""
    dc("fault", "drop-events")
    dc("set", "epcsd", "first", "on")
    stays(lambda: host.live(FIRST) and host.live(SECOND), 0.5, "both are live")
    dc("heal")
    dc("set", "epcsd", "first", "off")
    news(dc)


def broken(dc, break_, what, is_back=lambda: True):
    """The connection to the DC is lost. It is restored, and the host follows the log page again."""
    old = {each["id"] for each in dc.connections()}
    before = time.monotonic()
    break_()
    wait_until(lambda: not old & {each["id"] for each in dc.connections()}, 20, f"{what}: the connection is lost", poll=0.05)
    wait_until(lambda: any(each["event-requests"] for each in dc.connections()) and is_back(), 30,
               lambda: f"{what}: the host is back\n    seen: {dc.connections()}", poll=0.05)
    back = time.monotonic() - before
    note(f"{what}: back after {back:.1f} s, followed after {news(dc):.2f} s more")


def forgetful(dc):
    """The CDC restarts without members and zones, until they are added again."""
    dc("vanish", 2, "--empty")
    wait_until(lambda: any(each["event-requests"] for each in dc.connections()), 30, "the host is back", poll=0.05)
    stays(lambda: host.live(FIRST) and host.live(SECOND), 5, "both are live though the CDC knows of none")
    offer(dc)
    wait_until(lambda: dc.host().get("registered"), 10, "the host registers anew", poll=0.1)
    news(dc)
