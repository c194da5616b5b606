"""The address of a DC is changed in the configuration: storage is connected over the new path before the old path is removed."""

from scene import check, daemons, host, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 120


def play():
    target.three()
    daemons.connected_to(target.THREE)
    daemons.configure("transport=tcp;traddr=127.0.0.1;trsvcid=8009")
    least = dict.fromkeys(target.THREE, 2)

    def moved():
        for nqn in least:
            least[nqn] = min(least[nqn], len(host.live(nqn)))
        return {each.traddr for each in host.controllers()} == {"127.0.0.1"} and all(len(host.live(nqn)) == 1 for nqn in least)

    stafd.reload()
    wait_until(moved, 30, lambda: f"all are at the new address alone\n{host.picture()}", poll=0.02)
    check(all(least.values()), "each had a live path all the time", least)
    stays(lambda: len(host.controllers()) == 4, 2, "that is how it stays")
