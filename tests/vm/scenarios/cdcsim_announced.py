"""A CDC in another network that announces itself by mDNS is connected by its own NQN, and the subsystems of its zone are connected."""

from scene import cdc, check, daemons, equal, host, network, target, wait_until
from scene.daemons import stafd

LIMIT = 90
STORAGE = "nqn.2014-08.org.nvmexpress:scene:storage"
UNIQUE = "nqn.2014-08.org.nvmexpress:scene:announced"


def play():
    neighbour = network.Neighbour("fabric")
    lan = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    target.lives_at(neighbour)
    target.port(traddr="192.0.2.2", trsvcid="4420")
    target.subsystem(STORAGE)
    dc = cdc.Cdc(lives_at=neighbour, listen=["192.0.2.2:8009"], nqn=UNIQUE, announce="scene")
    dc.add("storage", "192.0.2.2:4420", nqn=STORAGE, zone="all")
    dc.zone_in()
    stafd.configure("[Global]\nignore-iface=false\n[Service Discovery]\nzeroconf=enabled\n")
    daemons.stacd.configure("[Global]\n")
    daemons.start()
    host.wait_live(STORAGE, timeout=40)
    wait_until(lambda: len(stafd.controllers()) == 1, 5, lambda: f"one DC\n    seen: {stafd.controllers()}", poll=0.1)
    found, = stafd.controllers()
    equal((found["traddr"], found["trsvcid"], found["subsysnqn"], found["origin"]), ("192.0.2.2", "8009", UNIQUE, "discovered"), "found")
    equal(found["host-iface"], lan, "the interface that it was heard on")
    seen, = dc.connections()
    check(seen["peer"].startswith("192.0.2.1:"), "the host comes by the cable", seen)
