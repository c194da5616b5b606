"""The loop transport: the DC is read, its subsystems are connected, and disconnected when they are no longer exported."""

from scene import daemons, host, target

LIMIT = 90
NQN = "nqn.2014-08.org.nvmexpress:scene:loop"


def play():
    target.load_loop()
    target.port(transport="loop", traddr="loop-one")
    target.subsystem(NQN)
    target.subsystem(NQN + "-2")
    daemons.connected_to([NQN, NQN + "-2"], dcs=["transport=loop;traddr=loop-one"])
    target.unlink(NQN)
    host.wait_gone(NQN, timeout=60)
    target.link(NQN)
    host.wait_live(NQN)
