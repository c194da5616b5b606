"""Announced portals that accept TCP and never answer delay neither configured storage nor a real announced discovery controller."""

import contextlib
import time

from scene import announcer, compare, daemons, host, network, note, target, wait_until
from scene.announcer import Service

LIMIT = 420
CONFIGURED, ANNOUNCED = "10.0.255.1", "10.0.255.2"
TARPITS = [f"10.0.{1 + number // 200}.{number % 200 + 2}" for number in range(512)]


def play():
    neighbour = network.Neighbour("target")
    lan = neighbour.cable("lan", "10.0.0.1/16", [f"{CONFIGURED}/16", f"{ANNOUNCED}/16"])
    for number in (1, 2, 3):
        neighbour.run("ip", "route", "add", "local", f"10.0.{number}.0/24", "dev", "lo")
    target.lives_at(neighbour)
    target.three()
    with contextlib.ExitStack() as stack:
        with neighbour.inside():
            port, _ = stack.enter_context(network.silent_portal("0.0.0.0"))
        air = stack.enter_context(announcer.Announcer(neighbour, lan))
        air.announce(Service("real", {lan: [ANNOUNCED]}))
        tarpits = [Service(f"tarpit {number}", {lan: [address]}, port=int(port)) for number, address in enumerate(TARPITS)]
        start()  # programs and modules are in memory from here on
        alone = start()
        air.expect(*tarpits[:63])
        configured, announced = start()
        compare("configured storage beside 63 tarpits", configured, alone[0], "the time without them", at_most=1.2)
        compare("storage of an announced DC beside 63 tarpits", announced, alone[1], "the time without them", at_most=2)
        air.expect(*tarpits)
        configured, announced = start()
        note(f"beside 512 tarpits: configured {configured / alone[0]:.2f}, announced {announced / alone[1]:.2f} times the time without them")


def start():
    """Returns the seconds from the start of both daemons to all storage of the configured and of the announced DC."""
    daemons.forget()
    daemons.stafd.configure(f"[Controllers]\ncontroller=transport=tcp;traddr={CONFIGURED};trsvcid=8009\n")
    daemons.stacd.configure("")
    begin, took = daemons.start(), []
    for address in (CONFIGURED, ANNOUNCED):
        wait_until(lambda: live_at(address) == len(target.THREE), 180, host.picture, poll=0.05)
        took.append(time.monotonic() - begin)
    daemons.stop()
    host.disconnect_all()
    return took


def live_at(address):
    return sum(each.traddr == address and each.state == "live" for each in host.iocs())
