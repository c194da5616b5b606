"""Interfaces and neighbours for scenarios, all named sc-…, and portals that do not answer."""

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import threading

from .host import run

PREFIX = "sc-"


def interface(name, *addresses):
    """Creates a dummy interface with these addresses (`192.0.2.1/24`); packets to its neighbours are lost. Returns its name."""
    name = PREFIX + name
    run("ip", "link", "add", name, "type", "dummy")
    for address in addresses:
        run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", name, "up")
    return name


class Neighbour:
    """Another host: a network namespace with cables to this host."""

    def __init__(self, name):
        self.name = PREFIX + name
        run("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def cable(self, name, here, there):
        """Creates a cable between this host and the neighbour, with one address (`192.0.2.1/24`) or a list at each end.

        Returns the name of the interface on this side; that of the other side is the same.
        """
        name = PREFIX + name
        run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", self.name)
        for execute, addresses in ((run, here), (self.run, there)):
            for address in [addresses] if isinstance(addresses, str) else addresses:
                execute("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
            execute("ip", "link", "set", name, "up")
        return name

    def run(self, *command, **options):
        """Runs a command in the neighbour. It sees the same files, including configfs (which `ip netns exec` would hide)."""
        return run("nsenter", f"--net={self.path}", *command, **options)

    @property
    def path(self):
        return f"/run/netns/{self.name}"

    @contextlib.contextmanager
    def inside(self):
        """Moves this thread into the neighbour for the block: its sockets, and those that configfs opens, are there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        other = os.open(self.path, os.O_RDONLY)
        try:
            enter(other)
            yield
        finally:
            enter(own)
            os.close(own)
            os.close(other)


def enter(namespace):
    """Moves this thread into a network namespace: as os.setns, which Python has since 3.12."""
    clone_newnet = 0x4000_0000
    if ctypes.CDLL(None, use_errno=True).setns(namespace, clone_newnet):
        raise OSError(ctypes.get_errno(), "setns")


def swallowing_portals(count):
    """Returns addresses that do not answer: they are routed to an interface without hosts."""
    interface("dead", "198.51.100.1/24")
    return [f"198.51.100.{10 + number}" for number in range(count)]


@contextlib.contextmanager
def silent_portal(address="127.0.0.1", greets=False):
    """Opens a portal that accepts TCP and never answers: it blocks the kernel's connect path for ten seconds. Returns its port.

    `greets`: it answers the first PDU (ICReq by ICResp) and no other: the kernel waits a minute for its Connect.
    """
    listener = socket.create_server((address, 0))
    kept = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                kept.append(listener.accept()[0])
                if greets:
                    kept[-1].recv(128)
                    # NVMe/TCP ICResp: type 1, header 128 bytes, whole 128 bytes, at most 128 KiB a transfer.
                    kept[-1].sendall(struct.pack("<BBBBI", 1, 0, 128, 0, 128) + struct.pack("<HBBI", 0, 0, 0, 131072) + bytes(112))

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield str(listener.getsockname()[1]), kept
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for each in kept:
            each.close()


FCLOOP = "/sys/class/fcloop/ctl"
LOCAL = "wwnn=0x10001100aa000001,wwpn=0x20001100aa000001"
REMOTE = "wwnn=0x10001100ab000001,wwpn=0x20001100ab000001"


def fibre_channel():
    """Creates a Fibre Channel port of the host and one of the target, connected to each other. Returns both addresses (traddr).

    The order is required: the host's port, the target's port, then the remote port of the host. The roles mark it as a
    target with a discovery controller: the kernel connects only to such ports.
    """
    run("modprobe", "-a", "nvme_fc", "nvmet_fc", "nvme_fcloop")
    _fcloop("add_local_port", LOCAL)
    _fcloop("add_target_port", REMOTE)
    _fcloop("add_remote_port", f"{REMOTE},{LOCAL.replace('wwnn', 'lpwwnn').replace('wwpn', 'lpwwpn')},roles=0x60")
    return tuple(each.replace("wwnn=", "nn-").replace("wwpn=", "pn-").replace(",", ":") for each in (LOCAL, REMOTE))


def _fcloop(what, text):
    with open(f"{FCLOOP}/{what}", "w") as file:
        file.write(text)


def remove_fibre_channel():
    if os.path.isdir(FCLOOP):
        for what, text in (("del_remote_port", REMOTE), ("del_local_port", LOCAL), ("del_target_port", REMOTE)):
            with contextlib.suppress(OSError):  # it does not exist
                _fcloop(what, text)


def clean():
    """Removes the interfaces. Fibre Channel ports and neighbours are removed later, after the connections and the target."""
    for link in json.loads(run("rdma", "-j", "link", check=False).stdout or "[]"):
        run("rdma", "link", "delete", link["ifname"], check=False)
    for link in json.loads(run("ip", "-j", "-d", "link")):
        if link["ifname"].startswith(PREFIX) and link.get("linkinfo", {}).get("info_kind") != "veth":
            run("ip", "link", "delete", link["ifname"])


def remove_neighbours():
    for each in json.loads(run("ip", "-j", "netns") or "[]"):
        if each["name"].startswith(PREFIX):
            # The namespace and its cables exist until the last process in it ends.
            for pid in run("ip", "netns", "pids", each["name"]).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            run("ip", "netns", "delete", each["name"])
    for link in json.loads(run("ip", "-j", "link")):
        if link["ifname"].startswith(PREFIX):
            run("ip", "link", "delete", link["ifname"], check=False)  # it may be gone already
