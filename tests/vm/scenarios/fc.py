"""The Fibre Channel transport (fcloop): the DC is read, its subsystems are connected, and disconnected when they are no longer exported."""

from scene import daemons, host, network, target

LIMIT = 120
NQN = "nqn.2014-08.org.nvmexpress:scene:fc"


def play():
    local, remote = network.fibre_channel()
    target.port(transport="fc", traddr=remote)
    target.subsystem(NQN)
    target.subsystem(NQN + "-2")
    # The events of the new port start nvme-cli, too. The daemons are to make the connections.
    host.end_autoconnect()
    host.disconnect_all()
    daemons.connected_to([NQN, NQN + "-2"], dcs=[f"transport=fc;traddr={remote};host-traddr={local}"])
    target.unlink(NQN)
    host.wait_gone(NQN, timeout=60)
    target.link(NQN)
    host.wait_live(NQN)
