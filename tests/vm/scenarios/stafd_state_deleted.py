"""A restart of stafd after its saved state was deleted loses no connection."""

import shutil

from scene import check, daemons, host, stays, target, wait_until

LIMIT = 120


def play():
    target.three()
    daemons.connected_to(target.THREE)
    with host.nothing_lost():
        daemons.stafd.stop()
        for path in ("/run/stafd", "/var/cache/stafd"):
            shutil.rmtree(path, ignore_errors=True)
        daemons.start(daemons.stafd)
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three again", poll=0.2)
        stays(lambda: len(host.iocs()) == 3, 8, "three connections")
        # The saved state may also contain random bytes.
        daemons.stafd.stop()
        spoil("/run/stafd")
        daemons.start(daemons.stafd)
        wait_until(lambda: daemons.stafd.listed_subsystems() == sorted(target.THREE), 20, "stafd lists all three again", poll=0.2)
        stays(lambda: len(host.iocs()) == 3, 5, "three connections")
    check(len(host.dcs()) == 1, "one DC connection: the old one was adopted", host.picture())


def spoil(folder):
    """Replaces each saved file by random bytes."""
    files = host.run("find", folder, "-type", "f").split()
    for path in files:
        with open(path, "wb") as file:
            file.write(bytes(range(256)) * 16)
