"""Two machines in one network: the host finds the target's CDC by mDNS and connects, and fio verifies every block although the target is reset. Only what the target no longer exports is disconnected."""

import json
import subprocess
import time

from scene import appliance, check, daemons, equal, host, journal, note, stays, wait_until
from scene.daemons import stacd, stafd

LIMIT = 900
TARGET_MACHINE = True
HERE, THERE = "192.0.2.1", "192.0.2.2"
CDC = "nqn.2014-08.org.nvmexpress:scene:data-centre"
GOES, STAYS = (f"nqn.2014-08.org.nvmexpress:scene:{name}" for name in ("goes", "stays"))
BOTH = (GOES, STAYS)
# MiB that fio writes to each disk, and its rate: 20 seconds, plus the outage of the target.
SIZE, RATE = 20, "1m"
CONFIG = "/run/harness"


def play():
    stafd.configure("[Service Discovery]\nzeroconf=enabled\n")
    # The kernel queues I/O for longer than a machine needs to boot, instead of failing it.
    # What the target takes back would be kept for 10 minutes after the last write of fio.
    stacd.configure("[Global]\nctrl-loss-tmo=600\nreconnect-delay=2\n"
                    "[I/O controller connection management]\nin-use=disconnect\n")
    daemons.start()
    set_up()
    note(f"found and connected after {host.wait_live(*BOTH, timeout=60):.1f} s")
    host.wait_dc(2)
    equal({(each.traddr, each.trsvcid, each.host_iface) for each in host.iocs()},
          {(THERE, "4420", appliance.IFACE), (THERE, "4421", appliance.IFACE)}, "by the segment, and as the page says")
    equal({(each["traddr"].partition("::")[0], each["subsysnqn"], each["origin"]) for each in stafd.controllers()},
          {(address, CDC, "discovered") for address in (THERE, "fe80")}, "the discovery controller, by each of its addresses")

    disks = {nqn: host.disk(nqn) for nqn in BOTH}
    with host.nothing_lost():
        running = {nqn: start(disk) for nqn, disk in disks.items()}
        wait_until(lambda: all(written(disk) > SIZE << 17 for disk in disks.values()), 60, lambda: f"fio writes an eighth\n{host.picture()}")
        away = reboot()
        ended = {nqn: each.poll() for nqn, each in running.items() if each.poll() is not None}
        check(not ended, "fio goes on when the target is back", f"it has ended, with status {ended}")
        for nqn, each in running.items():
            worst = finish(each)
            note(f"{nqn}: {SIZE} MiB written and verified; the longest wait was {worst:.1f} s")
            check(worst >= away, f"some I/O has waited for all of the {away:.1f} s without a connection", worst)
        host.wait_dc(2, timeout=60)
    errors = [line for line in journal.kernel().splitlines() if "I/O error" in line or "Buffer I/O" in line]
    check(not errors, "the kernel has no I/O error to report", errors)

    with host.nothing_lost(only=lambda each: each.nqn != GOES):
        take_back()
        note(f"taken back and gone after {host.wait_gone(GOES, timeout=60):.1f} s")
        stays(lambda: not host.with_nqn(GOES) and host.live(STAYS), 5, "one is gone, the other one is there")
        check(not host.namespaces(GOES), "and its disk is gone", host.namespaces(GOES))
        equal([each["subsysnqn"] for each in stacd.controllers()], [STAYS], "what stacd still wants")
        daemons.stop()
        check(not any(each.active() for each in daemons.BOTH), "both daemons have stopped")
    read_again(disks[STAYS])


# The target

def set_up():
    """Sets the target up after a boot: first the storage, then the CDC that lists it and announces itself by mDNS.

    Each subsystem has a port of its own. A port listens as soon as it has a subsystem, and would refuse a host that
    reconnects to another subsystem at that moment.
    """
    appliance.connect(target=f"{THERE}/24", host=f"{HERE}/24")
    appliance.write(f"{CONFIG}/nvmet.conf", "".join(
        f'[[port]]\nid = {number}\ntransport = "tcp"\ntraddr = "{THERE}"\ntrsvcid = {4419 + number}\n'
        f'[[subsystem]]\nnqn = "{nqn}"\nports = [{number}]\n[[subsystem.namespace]]\nid = 1\ndevice = "{disk}"\n'
        for number, (nqn, disk) in enumerate(zip(BOTH, appliance.DISKS), 1)))
    appliance.run("nvmet", "create", "-f", f"{CONFIG}/nvmet.conf")
    appliance.write(f"{CONFIG}/cdc.conf", f'listen = ["[::]:8009"]\nnqn = "{CDC}"\n' + "".join(
        f'[member.disk{number}]\nnqn = "{nqn}"\naddresses = ["{THERE}:{4419 + number}"]\n' for number, nqn in enumerate(BOTH, 1))
        + '[zone.all]\nhosts = ["*"]\nmembers = ["disk1", "disk2"]\n')
    appliance.run("systemd-run", "--quiet", "--unit=scene-cdc", "cdcsim", "--control", f"{CONFIG}/cdc.sock", "run", "--verbose",
                  "--announce=target", f"{CONFIG}/cdc.conf")


def reboot():
    """Resets the target during the I/O and sets it up again. Returns the seconds without a connection."""
    appliance.press_reset()
    wait_until(lambda: all(each.state == "connecting" for nqn in BOTH for each in host.with_nqn(nqn)), 120,
               lambda: f"the host notices\n{host.picture()}")
    lost = time.monotonic()
    appliance.wait_up()
    check(not any(host.live(nqn) for nqn in BOTH), "the target has forgotten all, nothing is connected", host.picture())
    set_up()
    host.wait_live(*BOTH, timeout=120)
    away = time.monotonic() - lost
    note(f"the target was reset; {away:.1f} s later both connections were back by themselves")
    return away


def take_back():
    appliance.run("nvmet", "unlink", "-p", "1", "-s", GOES)
    appliance.run("cdcsim", "--control", f"{CONFIG}/cdc.sock", "ctl", "zone", "remove", "all", "--member=disk1")


# The host's I/O

def start(disk):
    """Starts fio: it writes each block of a disk once in random order with a checksum, and then reads all blocks."""
    return subprocess.Popen(
        ["fio", "--name=verify", f"--filename=/dev/{disk}", "--rw=randwrite", "--bs=4k", f"--size={SIZE}m", f"--rate={RATE}",
         "--direct=1", "--ioengine=libaio", "--iodepth=4", "--verify=crc32c", "--verify_fatal=1", "--output-format=json",
         f"--output=/run/harness/fio-{disk}.json"], stdout=subprocess.DEVNULL)


def finish(fio):
    """Waits for the end of fio. Returns the longest completion time in seconds. Fails if any block is wrong."""
    status = fio.wait(LIMIT)
    path = next(word for word in fio.args if word.startswith("--output=")).partition("=")[2]
    with open(path) as file:
        text = file.read()
    job = json.loads(text[text.index("{"):])["jobs"][0]
    check(status == 0 and job["error"] == 0, "fio finds every block as it was written", f"status {status}, error {job['error']}")
    for way in ("write", "read"):
        equal(job[way]["io_bytes"], SIZE << 20, f"bytes of the {way} pass")
    return max(job[way]["clat_ns"]["max"] for way in ("read", "write")) / 1e9


def read_again(disk):
    """Checks that the disk has all written data after the daemons have stopped."""
    host.run("fio", "--name=again", f"--filename=/dev/{disk}", "--rw=read", "--bs=4k", f"--size={SIZE}m", "--direct=1",
             "--ioengine=libaio", "--iodepth=4", "--verify=crc32c", "--verify_fatal=1", "--output=/dev/null", timeout=120)


def written(disk):
    """Returns the bytes that were written to a disk."""
    return int(host.read(f"/sys/block/{disk}/stat").split()[6]) * 512
