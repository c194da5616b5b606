"""Interfaces of our own, all named scN…, and portals that misbehave."""

import contextlib
import json
import os
import socket
import threading

from .host import run

PREFIX = "sc-"


def interface(name, *addresses):
    """A dummy interface with these addresses (`192.0.2.1/24`). What is sent to its neighbours vanishes. Returns its name."""
    name = PREFIX + name
    run("ip", "link", "add", name, "type", "dummy")
    for address in addresses:
        run("ip", "address", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    run("ip", "link", "set", name, "up")
    return name


def swallowing_portals(count):
    """Addresses where SYNs vanish: they are routed to an interface with nobody behind it."""
    interface("dead", "198.51.100.1/24")
    return [f"198.51.100.{10 + number}" for number in range(count)]


@contextlib.contextmanager
def silent_portal(address="127.0.0.1"):
    """A portal that accepts TCP and never says a word: it holds the kernel's connect lane for ten seconds. Gives its port."""
    listener = socket.create_server((address, 0))
    kept = []

    def accept():
        with contextlib.suppress(OSError):
            while True:
                kept.append(listener.accept()[0])

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
    """A fibre-channel port of the host and one of the target, with a cable between them. Returns both addresses (traddr).

    The order matters: the host's port, the target's, then the host's view of the target's. The roles say that it is a
    target and has a discovery controller: the kernel's host connects to no other.
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
            with contextlib.suppress(OSError):  # not there
                _fcloop(what, text)


def clean():
    """What was made here. Fibre channel goes by itself, after the target."""
    for link in json.loads(run("rdma", "-j", "link", check=False).stdout or "[]"):
        run("rdma", "link", "delete", link["ifname"], check=False)
    for link in json.loads(run("ip", "-j", "link")):
        if link["ifname"].startswith(PREFIX):
            run("ip", "link", "delete", link["ifname"])
