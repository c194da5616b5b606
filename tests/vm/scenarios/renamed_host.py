"""If the host NQN changes, storage stays connected until it is connected with the new NQN, and the log says so."""

import uuid

from scene import daemons, host, journal, stays, target, wait_until

LIMIT = 180
# Longer than removals wait for a new discovery controller, for quiet and for a page to settle.
LONG = 20


def play():
    if daemons.stafd.peer:
        return
    target.three()
    before = host.hostnqn(), host.hostid()
    after = f"nqn.2014-08.org.nvmexpress:uuid:{uuid.uuid4()}", str(uuid.uuid4())
    target.only_for(target.KLINGONS, before[0])
    daemons.connected_to(target.THREE)
    try:
        # The NQN is new, the ID is not: the kernel refuses such connections beside the existing ones, so they have
        # another ID. One subsystem does not allow the new host NQN.
        with host.nothing_lost(only=lambda each: each.nqn == target.KLINGONS):
            become(after[0], before[1])
            journal.wait_for(f"the host NQN was {before[0]} and is {after[0]} now", 20, "stacd")
            wait_as(after[0], *(nqn for nqn in target.THREE if nqn != target.KLINGONS))
            journal.wait_for(f"{before[1]} is in use with the host NQN {before[0]}", 20, "stacd")
            stays(lambda: all(host.live(nqn) for nqn in target.THREE), LONG, "nothing is lost for want of a name")

        # Both are new.
        with host.nothing_lost(only=lambda each: each.nqn == target.KLINGONS):
            become(*after)
            wait_as(after[0], *(nqn for nqn in target.THREE if nqn != target.KLINGONS))
            wait_until(lambda: [each.nqn for each in host.iocs() if each.hostnqn == before[0]] == [target.KLINGONS], 60,
                       lambda: f"what is there under the new name goes under the old one\n{host.picture()}")
            stays(lambda: host.live(target.KLINGONS), LONG, "what is not, stays")

        # Back to the old name.
        with host.nothing_lost(only=lambda each: each.nqn == target.KLINGONS):
            become(*before)
            wait_as(before[0], *target.THREE)
            wait_until(lambda: {each.hostnqn for each in host.iocs()} == {before[0]}, 60,
                       lambda: f"all are there under the old name alone\n{host.picture()}")
    finally:
        write(*before)


def become(nqn, hostid):
    write(nqn, hostid)
    host.run("systemctl", "restart", "stafd", "stacd")


def write(nqn, hostid):
    for name, value in (("hostnqn", nqn), ("hostid", hostid)):
        with open(f"/etc/nvme/{name}", "w") as file:
            file.write(value + "\n")


def wait_as(hostnqn, *nqns):
    def missing():
        return [nqn for nqn in nqns if not any(each.hostnqn == hostnqn for each in host.live(nqn))]

    wait_until(lambda: not missing(), 60, lambda: f"connected as {hostnqn}: {', '.join(missing())}\n{host.picture()}")
