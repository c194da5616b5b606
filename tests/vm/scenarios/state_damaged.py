"""Saved state that is truncated, random, or from a newer version is renamed and reported. With a full or read-only /run, or a registry of owners that cannot be written, both daemons continue."""

import contextlib
import json
import os

from scene import check, daemons, equal, host, journal, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 300


def play():
    target.three()
    daemons.connected_to(target.THREE)
    damages = ("truncated", truncated), ("noise", noise), ("of a newer version", newer), ("empty", empty)
    for number, (what, damage) in enumerate(damages, 1):
        with host.nothing_lost():
            wait_until(lambda: all(os.path.exists(state_of(each)) for each in daemons.BOTH), 10, "both have saved")
            daemons.kill9(while_frozen=lambda each: damage(state_of(each)))
            listed()
        for each in daemons.BOTH:
            logged = journal.wait_for_all("starting without the saved .*state.json", number, 10, each.name)
            equal(len(logged), number, f"how often {each} says that it starts without its state, at last with one that is {what}")
            check(os.path.exists(f"{state_of(each)}.bad"), f"{each} sets aside what is {what}", os.listdir(f"/run/{each}"))
            os.unlink(f"{state_of(each)}.bad")

    # A failure to save is reported, and the daemons continue.
    for what, options, error in (("full", "size=8k", "No space left"), ("read-only", "ro", "Read-only")):
        with contextlib.ExitStack() as stack:
            for each in daemons.BOTH:
                stack.enter_context(covered(f"/run/{each}", options))
            with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
                target.unlink(target.KLINGONS)
                host.wait_gone(target.KLINGONS, timeout=60)
                target.link(target.KLINGONS)
                host.wait_live(target.KLINGONS)
            for each in daemons.BOTH:
                journal.wait_for(f"cannot save the .*state.json.*{error}", 20, each.name)
            with host.nothing_lost():
                daemons.kill9()
                listed()
                stays(lambda: len(host.controllers()) == 4, 3, f"all stay with /run {what}")
        with host.nothing_lost():
            daemons.stop()
            daemons.start()
            listed()
    without_a_registry()


def without_a_registry():
    """The saved state says which connections are ours: they are kept over a kill, and one is removed like any other."""
    daemons.stop()
    host.disconnect_all()
    daemons.forget()
    with covered("/run/nvme", "ro"):
        daemons.start()
        host.wait_live(*target.THREE)
        listed()
        for each in daemons.BOTH:
            journal.wait_for("registry.*Read-only", 5, each.name)
        with host.nothing_lost():
            daemons.kill9()
            listed()
        logged = [line for line in journal.messages("stacd") if "registry" in line and "Read-only" in line]
        check(len(logged) <= 2, "each stacd reports it once", logged)
        with host.nothing_lost(only=lambda each: each.nqn != target.KLINGONS):
            target.hide(target.KLINGONS)
            host.wait_gone(target.KLINGONS, timeout=60)
    target.show(target.KLINGONS)
    host.wait_live(target.KLINGONS)


def state_of(each):
    return f"/run/{each}/state.json"


def truncated(path):
    os.truncate(path, os.path.getsize(path) // 2)


def noise(path):
    with open(path, "wb") as file:
        file.write(bytes(range(256)) * 64)


def newer(path):
    with open(path) as file:
        state = json.load(file)
    state["version"] = 4711
    with open(path, "w") as file:
        json.dump(state, file)


def empty(path):
    os.truncate(path, 0)


@contextlib.contextmanager
def covered(folder, options):
    """Mounts another file system over a folder in all mount namespaces: full, or read-only."""
    os.makedirs(folder, exist_ok=True)
    host.run("mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", folder)
    try:
        if "size" in options:
            with contextlib.suppress(OSError), open(f"{folder}/ballast", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        yield
    finally:
        host.run("umount", "--lazy", folder)


def listed():
    wait_until(lambda: stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three", poll=0.2)
    wait_until(lambda: sum(each["device"] != "nvme?" for each in stacd.controllers()) == 3, 20, "stacd has all three", poll=0.2)
