"""The RDMA transport (soft RoCE): the DC is read, its subsystems are connected, and disconnected when they are no longer exported."""

from scene import daemons, host, network, target

LIMIT = 120
NQN = "nqn.2014-08.org.nvmexpress:scene:rdma"


def play():
    host.run("modprobe", "-a", "rdma_rxe", "nvme_rdma", "nvmet_rdma")
    name = network.interface("rdma", "192.0.2.1/24")
    host.run("rdma", "link", "add", "scrxe", "type", "rxe", "netdev", name)
    target.port(transport="rdma", traddr="192.0.2.1", trsvcid="4420")
    target.subsystem(NQN)
    target.subsystem(NQN + "-2")
    daemons.connected_to([NQN, NQN + "-2"], dcs=["transport=rdma;traddr=192.0.2.1"])
    target.unlink(NQN)
    host.wait_gone(NQN, timeout=60)
    target.link(NQN)
    host.wait_live(NQN)
