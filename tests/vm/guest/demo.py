"""Prints the demonstration: each command with its prompt and its output. The next command waits for the result."""

import subprocess
import sys
import time

from scene import Failed, daemons, host, journal, room, wait_until
from scene.target import KLINGONS, THREE

SAMPLE = "/usr/share/nvme-stas/nvmet/nvmet.conf"


def main():
    peer = "--peer" in sys.argv
    room.enter()
    journal.mark()
    if peer:
        daemons.use_peer()
    daemons.configure()

    say("A storage appliance: the kernel's own target, three subsystems behind one discovery controller.")
    do("nvmet", "create", "-f", SAMPLE)
    do("nvmet", "ls")

    say("The host's configuration names the discovery controller, and nothing else.")
    do("grep", "-v", "^$", "/etc/stas/stafd.conf")
    start = time.monotonic()
    do("systemctl", "start", "stafd", "stacd")
    host.wait_live(*THREE)
    say(f"Three subsystems are connected, {time.monotonic() - start:.1f} s after the command.")
    wait_until(lambda: [len(host.namespaces(nqn)) for nqn in THREE] == [3, 2, 1], 30, "the kernel has read all namespaces")
    listing("stafctl", peer)
    listing("stacctl", peer)

    say("The appliance stops exporting one. It is disconnected; the others stay connected.")
    stays = [each for each in host.controllers() if each.nqn != KLINGONS]
    with host.nothing_lost(only=lambda each: each in stays):
        moment = timed(lambda: host.wait_gone(KLINGONS), "nvmet", "unlink", "-p", "1", "-s", KLINGONS)
        say(f"Gone after {moment:.2f} s.")
        listing("stacctl", peer)
        say("The appliance exports it again.")
        moment = timed(lambda: host.wait_live(KLINGONS), "nvmet", "link", "-p", "1", "-s", KLINGONS)
        say(f"Live after {moment:.2f} s.")
        listing("stacctl", peer)

    say("Now both daemons are killed.")
    pages = daemons.stafd.listed_subsystems()
    devices = {each["device"] for each in daemons.stacd.controllers()}
    with host.nothing_lost():
        pids = [each.pid for each in daemons.BOTH]
        moment = timed(lambda: [each.wait_active(10, other_than=pid) for each, pid in zip(daemons.BOTH, pids)],
                       "kill", "-9", *map(str, pids))
        wait_until(lambda: daemons.stafd.listed_subsystems() == pages
                   and {each["device"] for each in daemons.stacd.controllers()} == devices, 15, "both have the state that they had", poll=0.2)
        say(f"Both are back after {moment:.1f} s, with the state that they had.")
        listing("stafctl", peer)
        listing("stacctl", peer)
    say("The kernel's events prove that no connection was lost.")
    do("nvme", "list-subsys")
    say("What the journal says of it all:")
    do("journalctl", "--no-pager", "--output=short-monotonic", "--no-hostname", "--unit=stafd", "--unit=stacd")
    return 0


def say(text):
    print(f"\n# {text}", flush=True)


def do(*command, show=None):
    """Prints the command with a prompt, runs it, and prints its output."""
    print(f"$ {show or ' '.join(command)}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout.rstrip() + "\n" if done.stdout.strip() else "", end="", flush=True)
    if done.returncode:
        raise Failed(f"expected: `{' '.join(command)}` succeeds\n    seen: status {done.returncode}")


def timed(condition, *command):
    """Seconds from the command's start until the condition holds."""
    before = time.monotonic()
    do(*command)
    condition()
    return time.monotonic() - before


def listing(tool, peer):
    if peer:
        do("env", f"PYTHONPATH={daemons.PEER_PYTHON}", f"{daemons.PEER}/usr/bin/{tool}", "ls", show=f"{tool} ls")
    else:
        do(tool, "ls", "-o", "table", show=f"{tool} ls")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failed:
        print(f"\nThe demonstration failed: {failed}\n\n{journal.text()}", flush=True)
        sys.exit(1)
