"""The daemons have no IP sockets. Without stas-net, configured host names are connected at their saved addresses after a restart of both daemons, and nothing is lost. While stas-net is killed again and again, new subsystems and announced DCs are found. Its processes have no rights and take little memory."""

import time

from scene import announcer, check, daemons, equal, host, journal, measure, network, target, wait_until
from scene.announcer import Service
from scene.daemons import stacd, stafd
from scene.host import run

LIMIT = 300
HOSTS = "/etc/hosts"
DC, IOC = "dc.example", "array.example"
STATUS = ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")


def play():
    target.three()
    with open(HOSTS) as file:
        before = file.read()
    try:
        names(before)
        away()
        with open(HOSTS, "w") as file:
            file.write(before)
        run("systemctl", "unmask", "--runtime", "stas-net.socket")
        run("systemctl", "start", "stas-net.socket")
        killed()
        wrong_users()
    finally:
        with open(HOSTS, "w") as file:
            file.write(before)
        run("systemctl", "unmask", "--runtime", "stas-net.socket", check=False)


def names(hosts):
    """Connects by host names, and looks at the processes."""
    with open(HOSTS, "w") as file:
        file.write(hosts + f"\n::1 {DC} {IOC}\n")
    check(not processes(), "stas-net does not run before it is needed", processes())
    stafd.configure(f"[Controllers]\ncontroller=transport=tcp;traddr={DC};trsvcid=8009\n")
    ioc = f"transport=tcp;traddr={IOC};trsvcid=8009;nqn={target.KLINGONS}"
    stacd.configure(f"[Controllers]\ncontroller={ioc}\n")
    daemons.start()
    host.wait_live(*target.THREE)
    # mDNS and host names for stafd, host names for stacd; probes only if there were any.
    wait_until(lambda: len(processes()) >= 3, 10, lambda: f"one process for each task\n    seen: {processes()}")
    for pid in processes():
        status = dict(line.split(":\t", 1) for line in host.read(f"/proc/{pid}/status").splitlines() if ":\t" in line)
        check(status["Uid"].split()[0] != "0", f"{pid} is not root", status["Uid"])
        equal([status[key].strip() for key in STATUS], ["0" * 16] * 3 + ["1", "2"], f"{pid} has no rights: {STATUS}")
        measure(f"stas-net {pid}: resident", int(status["VmRSS"].split()[0]) / 1000, "MB", at_most=6)
        measure(f"stas-net {pid}: private", private(pid) / 1e6, "MB", at_most=3)
    for each in daemons.BOTH:
        equal(run("systemctl", "show", "--value", "--property=RestrictAddressFamilies", each.unit).split(),
              ["AF_NETLINK", "AF_UNIX"], f"{each} has no IP sockets")
    mine = [line for line in run("ss", "-Htulpn").splitlines() if '"stafd"' in line or '"stacd"' in line]
    equal(mine, [], "no daemon has a UDP or TCP socket")


def away():
    """stas-net cannot be started, and no name can be resolved."""
    with host.nothing_lost():
        run("systemctl", "mask", "--runtime", "--now", "stas-net.socket")
        kill()
        with open(HOSTS, "w") as file:
            file.write("127.0.0.1 localhost\n")
        daemons.stop()
        daemons.start()
        wait_until(lambda: all(each.active() for each in daemons.BOTH), 30, "both daemons run")
        host.wait_live(*target.THREE)
    check(not processes(), "stas-net does not run", processes())
    # Not only kept: made anew.
    daemons.stop()
    host.disconnect_all()
    daemons.start()
    took = host.wait_live(*target.THREE, timeout=60)
    print(f"connected without stas-net at the saved addresses after {took:.1f} s")
    journal.wait_for("at present.*stas-net|stas-net.*at present", 10, "stafd")


def killed():
    """Kills stas-net again and again while subsystems come and go, then announces a DC."""
    neighbour = network.Neighbour("target")
    lan = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    with announcer.Announcer(neighbour, lan) as air, host.nothing_lost(only=lambda each: each.nqn in target.THREE):
        kills = 0
        for number in range(5):
            nqn = f"nqn.2014-08.org.nvmexpress:scene:late-{number}"
            target.subsystem(nqn, ports=())
            target.link(nqn)
            for _ in range(4):
                kills += kill()
                time.sleep(0.2)  # the pace of the kills, not a condition
            host.wait_live(nqn, timeout=30)
        # A process that was killed is replaced later each time, so that there is none at most of the attempts.
        check(kills > 0, "processes were killed", kills)
        old, new = Service("old", {lan: ["192.0.2.99"]}), Service("new", {lan: ["192.0.2.98"]})
        air.expect(old)
        wait_until(lambda: found("192.0.2.99"), 30, lambda: f"a DC that answers a query is found\n    seen: {listed()}")
        kill()
        wait_until(processes, 30, "stas-net is started again")
        air.announce(new)
        wait_until(lambda: found("192.0.2.98"), 30, lambda: f"a DC that is announced is found\n    seen: {listed()}")
        check(found("192.0.2.99"), "the other one is still known", listed())


def wrong_users():
    """Only root may connect to the socket."""
    code = "import socket; socket.socket(socket.AF_UNIX).connect('/run/nvme-stas/net.socket')"
    refused = run("python3", "-c", code, user="tester", check=False)
    check(refused.returncode != 0 and "PermissionError" in refused.stderr, "another user cannot connect", refused.stderr)


def processes():
    return host.processes("stas-net")


def kill():
    return host.kill_all("stas-net")


def private(pid):
    lines = host.read(f"/proc/{pid}/smaps_rollup").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean:", "Private_Dirty:")))


def listed():
    return [each["traddr"] for each in stafd.controllers(False)]


def found(traddr):
    return traddr in listed()
