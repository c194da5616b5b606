"""Every connection has an owner: other programs do not disconnect connections of the daemons, the daemons do not disconnect connections of other programs, and a removal ends at most one connection."""

import contextlib
import json
import os
import stat
import time

from scene import check, daemons, equal, host, journal, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
REGISTRY = "/run/nvme/registry"
STRANGER = "nqn.2014-08.org.nvmexpress:scene:stranger"
OTHERS = "nqn.2014-08.org.nvmexpress:scene:others"
PORT_2 = {"trsvcid": "4420"}
# Causes in the journal, with the line of stacd.conf.
REMOVED = "controller= removed from stacd.conf (it was line 2)"
EXCLUDED = "excluded by exclude= in stacd.conf, line 3"


def owner(device):
    return host.read(f"{REGISTRY}/{device}/owner")


def owners():
    return {each.device: owner(each.device) for each in host.controllers()}


def disconnect_all_of_nvme_cli_3():
    """Does what `nvme disconnect-all` of nvme-cli 3 does: disconnects every fabrics controller without an owner in the registry."""
    gone = [each for each in host.controllers() if not owner(each.device)]
    for each in gone:
        each.delete()
    return [each.nqn for each in gone]


def claim(device, name):
    """Writes the registry entry of `nvme connect --owner=NAME`. nvme-discoverd also writes it for existing unowned connections."""
    if owner(device):
        return False
    entry = f"{REGISTRY}/{device}"
    os.makedirs(entry, exist_ok=True)
    for attribute, value in (("seqnum", host.read("/sys/kernel/uevent_seqnum")), ("owner", name)):
        with open(f"{entry}/.new", "w") as file:
            file.write(f"{value}\n")
        os.rename(f"{entry}/.new", f"{entry}/{attribute}")
    return True


def line(nqn, more=""):
    return f"controller=transport=tcp;traddr=::1;trsvcid=4420;nqn={nqn}{more}\n"


def configure(*lines):
    stacd.configure("[Controllers]\n" + "".join(lines))
    stacd.reload()


def play():
    target.three()
    target.port(2, **PORT_2)
    for nqn in (STRANGER, OTHERS):
        target.subsystem(nqn, ports=(2,))
    daemons.connected_to(target.THREE)
    ours_is_left_alone()
    owners_survive()
    another_owners_stays()
    an_unowned_one_is_adopted_and_removed()
    a_removal_ends_one_connection()
    an_exclusion_ends_what_it_matches()


def ours_is_left_alone():
    # The daemons write the owner some time after the controller is live.
    wait_until(lambda: set(owners().values()) == {"stas"}, 20, lambda: f"stas owns all connections\n    seen: {owners()}", poll=0.1)
    for path in (REGISTRY, *(f"{REGISTRY}/{each.device}" for each in host.controllers())):
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o755, f"the mode of {path}")
    for each in host.controllers():
        equal(stat.S_IMODE(os.stat(f"{REGISTRY}/{each.device}/owner").st_mode), 0o644, "the mode of an owner")
        mark = json.loads(host.read(f"{REGISTRY}/{each.device}/stas"))
        # The entry in /sys/class/nvme itself, not the directory that it links to.
        birth = os.lstat(f"/sys/class/nvme/{each.device}").st_ino
        equal((mark["birth"], mark["gained"]), (birth, "connected"), "what the private attribute says")
    host.connect(STRANGER, **PORT_2)
    with host.nothing_lost(only=lambda each: each.nqn != STRANGER):
        equal(disconnect_all_of_nvme_cli_3(), [STRANGER], "what nvme disconnect-all disconnects")
        check(not any(claim(each.device, "discoverd") for each in host.controllers() if each.nqn != STRANGER),
              "nvme-discoverd takes none of ours over")
        host.wait_gone(STRANGER)


def owners_survive():
    with host.nothing_lost():
        for restart in (stafd.restart, stacd.restart, daemons.kill9):
            restart()
            wait_until(lambda: len(stacd.controllers()) == 3 and stafd.controllers(), 30, "both know theirs again", poll=0.2)
        equal(set(owners().values()), {"stas"}, "the owners after restarts and a kill")
    # The entry is deleted with its connection: the next controller with this number has no owner.
    device = host.live(target.KLINGONS)[0].device
    with announced(device, target.KLINGONS, "no longer lists it"):
        target.hide(target.KLINGONS)
        host.wait_gone(target.KLINGONS, timeout=60)
    wait_until(lambda: not os.path.exists(f"{REGISTRY}/{device}"), 10, "the entry of a connection that is gone is deleted")
    check(not [each for each in journal.entries("stacd") if "lost its connection" in each["MESSAGE"]], "no loss is reported")
    target.show(target.KLINGONS)
    host.wait_live(target.KLINGONS)


@contextlib.contextmanager
def announced(device, nqn, cause):
    """Checks that one line of the journal announces the disconnect of the block, and names device, controller and cause."""
    start = time.monotonic()

    def lines():
        return [each for each in journal.entries("stacd", since=start) if "disconnecting: " in each["MESSAGE"]]
    yield
    # journalctl may omit lines for a moment.
    logged, _ = wait_until(lines, 5, "a line announces the disconnect", poll=0.2)
    check(len(logged) == 1 and logged[0].get("DEVICE") == device and nqn in logged[0].get("TID", "") and cause in logged[0]["MESSAGE"],
          f"one line names {device}, {nqn} and the cause: {cause}", logged)


def another_owners_stays():
    device = host.connect(OTHERS, **PORT_2)
    check(claim(device, "discoverd"), "another orchestrator owns it")
    with host.nothing_lost():
        configure(line(OTHERS))
        wait_until(lambda: device in {each["device"] for each in stacd.controllers()}, 10, "it is used")
        for lines in ([], ["exclude=trsvcid=4420\n"], [line(OTHERS)], []):
            configure(*lines)
            stays(lambda: host.live(OTHERS), 2, "it stays")
        equal(owner(device), "discoverd", "its owner")
    host.live(OTHERS)[0].delete()
    wait_until(lambda: not os.path.exists(f"{REGISTRY}/{device}"), 10, "its entry goes with it: the next nvmeN has no owner")


def an_unowned_one_is_adopted_and_removed():
    device = host.connect(STRANGER, **PORT_2)
    configure(line(STRANGER))
    wait_until(lambda: owner(device) == "stas", 10, "it is claimed")
    equal(json.loads(host.read(f"{REGISTRY}/{device}/stas"))["gained"], "adopted", "how it became ours")
    with host.nothing_lost(only=lambda each: each.nqn != STRANGER), announced(device, STRANGER, REMOVED):
        configure()
        host.wait_gone(STRANGER, timeout=10)


def a_removal_ends_one_connection():
    configure(line(STRANGER))
    host.wait_live(STRANGER)
    device = host.live(STRANGER)[0].device
    host.connect(STRANGER, **PORT_2, host_iface="lo")
    with host.nothing_lost(only=lambda each: each.nqn != STRANGER or each.host_iface), announced(device, STRANGER, REMOVED):
        configure()
        wait_until(lambda: len(host.with_nqn(STRANGER)) == 1, 10, "its own connection is ended")
        stays(lambda: len(host.live(STRANGER)) == 1, 5, "the one made by hand stays")
    host.live(STRANGER)[0].delete()
    host.wait_gone(STRANGER)


def an_exclusion_ends_what_it_matches():
    configure(line(STRANGER, ";host-iface=lo"))
    host.wait_live(STRANGER)
    device = host.live(STRANGER)[0].device
    host.connect(STRANGER, **PORT_2)
    with host.nothing_lost(only=lambda each: not each.host_iface), announced(device, STRANGER, EXCLUDED):
        configure(line(STRANGER, ";host-iface=lo"), "exclude=host-iface=lo\n")
        wait_until(lambda: len(host.with_nqn(STRANGER)) == 1, 10, "its own connection is ended")
        stays(lambda: len(host.live(STRANGER)) == 1, 5, "the unbound one made by hand stays")
