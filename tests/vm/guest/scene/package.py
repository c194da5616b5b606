"""The Debian package (`make deb`), and Debian's nvme-stas 2.4.1 as a package."""

import os
import shutil

from .daemons import PEER
from .expect import check, skip
from .host import read, run

OURS = "/trees/nvme-stas.deb"
THEIRS = "/run/harness/nvme-stas-2.deb"
INFO = "/var/lib/dpkg/info/nvme-stas"
# dpkg and its scripts take seconds under emulation.
PATIENT = 300


def needed():
    """Ends the scenario if the package was not built."""
    if not os.path.exists(OURS):
        skip("no package: make deb")


def install(path):
    """dpkg -i; each of its questions is answered with Enter, the default."""
    run("dpkg", "--force-unsafe-io", "--install", path, stdin="\n" * 10, timeout=PATIENT)


def remove():
    run("dpkg", "--remove", "nvme-stas", timeout=PATIENT)


def purge():
    run("dpkg", "--purge", "nvme-stas", timeout=PATIENT)


def pack_theirs():
    """Packs 2.4.1 again: its files are in /opt/peer, its scripts where dpkg keeps them."""
    tree = "/run/harness/nvme-stas-2"
    shutil.copytree(PEER, tree, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    control = f"{tree}/DEBIAN"
    os.mkdir(control)
    for name in ("conffiles", "postinst", "prerm", "postrm"):
        shutil.copy(f"{INFO}.{name}", f"{control}/{name}")
    kept, inside = [], False
    for line in run("dpkg-query", "--status", "nvme-stas").splitlines():
        inside = line.startswith("Conffiles:") or inside and line.startswith(" /")
        if not inside and not line.startswith("Status:"):
            kept.append(line)
    check("Version: 2.4.1-2" in kept, "the image has nvme-stas 2.4.1-2", kept)
    with open(f"{control}/control", "w") as file:
        file.write("\n".join(kept) + "\n")
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "--build", tree, THEIRS, timeout=PATIENT)


def install_tree():
    """What every machine has when a scenario begins: the tree of `make install`, with units that are not enabled."""
    make_install()
    run("systemctl", "disable", "stafd.service", "stacd.service", check=False)


def make_install(*options):
    """Does what `make install` does, but overwrites edited configuration files. `options`: of tar."""
    name = next(name for name in os.listdir("/trees") if os.path.isdir(f"/trees/{name}/usr/sbin"))
    run("/harness/guest/install-tree", name, *options, timeout=PATIENT)


def state():
    """How dpkg calls the state of the package."""
    return run("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", "nvme-stas", check=False).stdout.strip()


def enabled(daemon):
    return run("systemctl", "is-enabled", daemon.unit, check=False).stdout.strip()


def program(daemon):
    """The program file that runs; "(deleted)" behind it if it was replaced."""
    try:
        return os.readlink(f"/proc/{daemon.pid}/exe")
    except OSError:
        return ""


def configuration():
    return {name: read(f"/etc/stas/{name}") for name in ("stafd.conf", "stacd.conf")}
