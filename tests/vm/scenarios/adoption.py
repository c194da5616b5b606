"""Connections that nvme-cli made are adopted unchanged: none is lost, no second one is made, and they stay when the daemons stop."""

from scene import check, daemons, equal, host, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 150


def play():
    target.three()
    # A DC connection and two of three I/O controllers; the same address written differently; a host name for it.
    host.run("nvme", "discover", "--transport=tcp", "--traddr=::1", "--trsvcid=8009", "--persistent", "--keep-alive-tmo=30")
    host.run("nvme", "connect", "--transport=tcp", "--traddr=::1", "--trsvcid=8009", f"--nqn={target.KLINGONS}")
    host.run("nvme", "connect", "--transport=tcp", "--traddr=0:0:0:0:0:0:0:1", "--trsvcid=8009", f"--nqn={target.STARFLEET}")
    before = {each.identity for each in host.controllers()}
    equal(len(before), 3, "connections made by nvme-cli")
    with host.nothing_lost():
        daemons.connected_to(target.THREE)
        wait_until(lambda: len(stacd.controllers()) == 3, 10, "stacd knows three", poll=0.2)
        stays(lambda: len(host.controllers()) == 4, 5, "one connection for each: one DC, three subsystems")
    devices = {each["device"] for each in stafd.controllers() + stacd.controllers()}
    equal(devices, {each.device for each in host.controllers()}, "the devices that the daemons list")

    # An adopted connection is removed like any other when the target no longer exports its subsystem.
    stays(lambda: len(host.controllers()) == 4, 30, "all stay until the page is proof")
    target.unlink(target.KLINGONS)
    host.wait_gone(target.KLINGONS, timeout=60)
    target.link(target.KLINGONS)
    host.wait_live(target.KLINGONS)

    with host.nothing_lost():
        daemons.stop()
        check(len(host.controllers()) == 4, "all stay when the daemons stop", host.picture())
    # With persistent-connections=false the DC connections are disconnected.
    daemons.configure(stafd_more="[Discovery controller connection management]\npersistent-connections=false\n")
    daemons.start()
    wait_until(lambda: stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)
    with host.nothing_lost(only=lambda each: not each.is_dc):
        daemons.stop()
        wait_until(lambda: not host.dcs(), 10, lambda: f"no DC connection with persistent-connections=false\n{host.picture()}")
