"""fio verifies every block, over one path and over two, while both daemons are restarted, killed, reloaded and upgraded: no error, and no wait longer than three times the longest wait while idle daemons are killed."""

import json
import os
import random
import subprocess
import time

from scene import check, compare, daemons, host, note, reference, target, wait_until

LIMIT = 400
COVERAGE = False
ONE = "nqn.2014-08.org.nvmexpress:scene:one-path"
TWO = "nqn.2014-08.org.nvmexpress:scene:two-paths"
BESIDE, DISTURBED = 15, 45
SEED = 5


def play():
    idle = reference.IdleDaemons()
    with target.together():
        target.port(1)
        target.port(2, trsvcid="8010")
        target.subsystem(ONE, ports=(1,), keeps=True)
        target.subsystem(TWO, ports=(1, 2), keeps=True)
    dcs = [f"transport=tcp;traddr=::1;trsvcid={service}" for service in ("8009", "8010")]
    daemons.connected_to([ONE, TWO], dcs=dcs)
    wait_until(lambda: len(host.live(TWO)) == 2, 20, lambda: f"two paths\n{host.picture()}")
    # A disk for each subsystem, however many paths.
    disks = {nqn: host.disk(nqn) for nqn in (ONE, TWO)}

    # The same load and disturbance with idle daemons.
    beside = {nqn: start(nqn, disk, BESIDE) for nqn, disk in disks.items()}
    while all(each.poll() is None for each in beside.values()):
        idle.killed()
        upgrade(*idle.both)
    calm = {nqn: finish(each)[0] for nqn, each in beside.items()}
    running = {nqn: start(nqn, disk, DISTURBED) for nqn, disk in disks.items()}
    with host.nothing_lost():
        disturb(lambda: all(each.poll() is None for each in running.values()))
        for nqn, each in running.items():
            worst, written = finish(each)
            note(f"{nqn}: {written >> 20} MiB written and verified")
            compare(f"{nqn.rpartition(':')[2]}: worst completion", worst, calm[nqn], "the worst while idle daemons are killed", at_most=3)


def start(nqn, disk, seconds):
    """Runs fio on a disk: every block contains its checksum, and is read again after 64 more blocks."""
    return subprocess.Popen(
        ["fio", "--name=verify", f"--filename=/dev/{disk}", "--rw=randrw", "--bs=4k", "--size=16m", "--direct=1", "--ioengine=libaio",
         "--iodepth=4", "--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1", "--time_based", f"--runtime={seconds}",
         "--output-format=json", f"--output=/run/harness/fio-{disk}.json"], stdout=subprocess.DEVNULL)


def finish(fio):
    """Returns the longest completion time in seconds and the written bytes. Fails if any block is wrong."""
    status = fio.wait(DISTURBED + 60)
    path = next(word for word in fio.args if word.startswith("--output=")).partition("=")[2]
    with open(path) as file:
        text = file.read()
    job = json.loads(text[text.index("{"):])["jobs"][0]
    check(status == 0 and job["error"] == 0, "fio finds every block as it was written", f"status {status}, error {job['error']}")
    check(job["write"]["io_bytes"] > 0 and job["read"]["io_bytes"] > 0, "fio wrote and read", job["write"]["io_bytes"])
    return max(job[way]["clat_ns"]["max"] for way in ("read", "write")) / 1e9, job["write"]["io_bytes"]


def disturb(goes_on):
    """Restarts, kills, reloads and upgrades the daemons, in an order that the seed decides."""
    rng = random.Random(SEED)
    deeds = [restart, daemons.kill9, reload, upgrade]
    end = time.monotonic() + DISTURBED - 5
    done = []
    while time.monotonic() < end and goes_on():
        deed = rng.choice(deeds) if len(done) >= len(deeds) else deeds[len(done)]
        deed()
        done.append(deed.__name__)
        for each in daemons.BOTH:
            each.wait_active(20)
    note(f"{len(done)} disturbances: {', '.join(done)}")
    check(len(done) >= len(deeds), "time for all disturbances", done)


def restart():
    for each in daemons.BOTH:
        each.restart()


def reload():
    for each in daemons.BOTH:
        each.reload()


def upgrade(*which):
    """Runs `make install` over the running daemons, and restarts them. Edited configuration is kept."""
    tree = next(name for name in os.listdir("/trees") if os.path.isdir(f"/trees/{name}/usr/sbin"))
    host.run("sh", "-c", f"tar -C /trees/{tree} --exclude=./etc -c . | tar -C / -xp --keep-directory-symlink --no-overwrite-dir", timeout=120)
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "restart", *[each.unit for each in which or daemons.BOTH])
