"""Referrals from CDC to CDC are followed, without loops. A subsystem that moves from one CDC to another is never disconnected. A removed referral removes only what nothing else lists. Of two CDCs that refer to each other, none stays when the configured one is removed from stafd.conf."""

import time

from scene import cdc, check, daemons, equal, host, journal, stays, wait_until
from scene.daemons import stacd, stafd

LIMIT = 200
OWN, MOVING, BOTH, DEEP = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("own", "moving", "both", "deep"))
# An address on which no program listens.
DEAD = "192.0.2.2:4999"
UNREACHED = "nqn.2014-08.org.nvmexpress:scene:unreached"
ATTEMPTS = 2
# The host NQN for the first CDC, and so for all CDCs to which it refers.
HOST = "nqn.2014-08.org.nvmexpress:uuid:5e0f8b1c-9d0f-4d4e-8a5b-2f6d1c7b9a30"


def play():
    neighbour, lan = cdc.fabric(OWN, MOVING, BOTH, DEEP)
    # The first refers to the second, that to the third, that to the fourth, and the fourth to the first.
    dcs = [cdc.Cdc(name=f"cdc{number}", lives_at=neighbour, listen=[f"192.0.2.2:{8009 + number}"]) for number in range(4)]
    for number, dc in enumerate(dcs):
        for name, nqn in (("own", OWN), ("moving", MOVING), ("both", BOTH), ("deep", DEEP)):
            dc.add(name, cdc.STORAGE, nqn=nqn)
        dc.add("next", f"192.0.2.2:{8009 + (number + 1) % 4}", kind="referral")
    first, second, third, fourth = dcs
    first.add("unreached", DEAD, nqn=UNREACHED)
    first("set", "ncc", "unreached", "on")
    first.zone_in("own", "next", "unreached")
    second.zone_in("both", "next")
    third.zone_in("moving", "both", "next")
    fourth.zone_in("deep", "next")
    daemons.configure(f"transport=tcp;traddr=192.0.2.2;trsvcid=8009;host-iface={lan};host-nqn={HOST}",
                      stacd_more=f"[I/O controller connection management]\nconnect-attempts-on-ncc={ATTEMPTS}\n")
    daemons.start()
    host.wait_live(OWN, MOVING, BOTH, DEEP)
    equal(ports(), {"8009": "configured", "8010": "referral", "8011": "referral", "8012": "referral"}, "four DCs, each once")
    equal({each.host_iface for each in host.controllers()}, {lan}, "the interface of the first is that of all")
    equal({each.hostnqn for each in host.controllers()}, {HOST}, "the host NQN of the first is that of all")
    settled = time.monotonic()

    # An entry with NCC is tried as often as stacd.conf allows, and then given up.
    wait_until(lambda: state(UNREACHED) == "given up", 30, lambda: f"{UNREACHED} is given up\n    seen: {stacd.controllers()}", poll=0.2)
    given_up = journal.wait_for_all("giving up after", 1, 10, "stacd")
    check(len(given_up) == 1 and f"giving up after {ATTEMPTS} attempts" in given_up[0], "after as many attempts as configured", given_up)

    # When the DC has been connected for 30 s, its page proves an absence at once.
    wait_until(lambda: time.monotonic() - settled > 31, 40, "half a minute of settled DCs", poll=0.5)
    with host.nothing_lost():
        # Add it to one CDC, then remove it from the other; then back again, without a pause.
        second.zone_in("moving")
        third.zone_out("moving")
        stays(lambda: host.live(MOVING), 2, "what moved is live")
        second.zone_out("moving")
        third.zone_in("moving")
        stays(lambda: host.live(MOVING), 2, "what moved back is live")

    equal(state(UNREACHED), "given up", "it was not tried again")
    with host.nothing_lost(only=lambda each: each.nqn in (OWN, BOTH) or each.trsvcid in ("8009", "8010")):
        second.zone_out("next")
        host.wait_gone(DEEP, MOVING, timeout=60)
        wait_until(lambda: set(ports()) == {"8009", "8010"}, 20, lambda: f"the third and the fourth are given up\n    seen: {ports()}", poll=0.1)
        stays(lambda: host.live(OWN) and host.live(BOTH), 3, "what others offer, too, stays")

    # The first and the second refer to each other, and the first is no longer configured.
    second.add("back", "192.0.2.2:8009", kind="referral")
    with host.nothing_lost():
        second.zone_in("back")
        wait_until(lambda: referrals() == {"8009", "8010"} and len(ports()) == 2, 10,
                   lambda: f"they refer to each other\n    seen: {referrals()}, {ports()}", poll=0.1)
        stays(lambda: len(host.dcs()) == 2, 3, "the referral back makes no further connection")
    stafd.configure("[Service Discovery]\nzeroconf=disabled\n")
    stafd.reload()
    wait_until(lambda: not host.controllers() and not ports(), 60, lambda: f"no connection is left\n    seen: {ports()}\n{host.picture()}", poll=0.1)


def ports():
    return {each["trsvcid"]: each["origin"] for each in stafd.controllers()}


def referrals():
    """The ports of all referrals in the log pages that stafd has read."""
    return {entry["trsvcid"] for each in stafd.log_pages() for entry in each["log-pages"] if entry["subtype"] == "referral"}


def state(nqn):
    return next((each["state"] for each in stacd.controllers() if each["subsysnqn"] == nqn), None)
