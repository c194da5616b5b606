"""By default, connections of nvme-cli are not touched. In the audit scope they are disconnected if no source lists them. With no-disconnect everything is kept."""

from scene import daemons, host, stays, target
from scene.daemons import stacd

LIMIT = 240
STRANGER = "nqn.2014-08.org.nvmexpress:scene:stranger"
SECTION = "[I/O controller connection management]\n"


def play():
    target.three()
    target.port(2, trsvcid="4420")
    target.subsystem(STRANGER, ports=(2,))
    host.connect(STRANGER, trsvcid="4420")
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        stays(lambda: host.live(STRANGER), 5, "a stranger's connection stays in the default scope")

    # The subsystem is hidden from this host, but the target does not close the connection: only stacd can end it.
    scope("no-disconnect")
    with host.nothing_lost():
        target.hide(target.KLINGONS)
        stays(lambda: host.live(target.KLINGONS), 40, "no-disconnect keeps what no source wants")

    scope("only-stas-connections")
    with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
        host.wait_gone(target.KLINGONS, timeout=60)

    scope("all-connections-matching-disconnect-trtypes", "disconnect-trtypes=rdma+fc\n")
    with host.nothing_lost():
        stays(lambda: host.live(STRANGER), 5, "the audit spares other transports")

    scope("all-connections-matching-disconnect-trtypes")
    with host.nothing_lost(only=lambda each: each.nqn != STRANGER):
        host.wait_gone(STRANGER, timeout=60)
    target.show(target.KLINGONS)
    host.wait_live(target.KLINGONS)


def scope(value, more=""):
    stacd.configure(f"{SECTION}disconnect-scope={value}\n{more}")
    stacd.reload()
