"""While fio runs, the package replaces `make install`, is upgraded, removed, installed, purged and installed again: no connection is lost, no request fails."""

import os

from scene import check, daemons, equal, fio, host, package, stays, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 600
FRESH_MACHINE = True
COVERAGE = False
DISK = "nqn.2014-08.org.nvmexpress:scene:disk"


def play():
    if stacd.peer:
        return
    package.needed()
    # Debian's package makes way, as the README says for `make install`.
    package.purge()
    package.install_tree()
    try:
        live()
    finally:
        package.install_tree()


def live():
    target.port()
    target.subsystem(DISK, keeps=True)
    host.run("systemctl", "enable", stacd.unit)
    daemons.connected_to([DISK])
    configured = package.configuration()
    disk = host.disk(DISK)
    with host.nothing_lost(), fio.verifying(disk, "package", rate=10):
        takes_over(configured)
        package.install(package.OURS)
        works("upgrade", configured)
        removed(configured)
        # `make install` had left stafd disabled, and so it stays.
        package.install(package.OURS)
        daemons.start(stafd)
        works("installation after a removal", configured)
        purged()
        package.install(package.OURS)
        for each in daemons.BOTH:
            each.wait_active(60)
        check(package.configuration() != configured, "after a purge the configuration is the default")
        stays(lambda: host.live(DISK), 5, "the connection stays, which is no longer configured")


def takes_over(configured):
    pids = [each.pid for each in daemons.BOTH]
    package.install(package.OURS)
    for each, pid in zip(daemons.BOTH, pids):
        each.wait_active(60, other_than=pid)
    equal(package.enabled(stacd), "enabled", "stacd")
    equal(package.enabled(stafd), "disabled", "stafd")
    works("takeover", configured)


def works(step, configured):
    equal(package.configuration(), configured, f"{step}: the configuration")
    for each in daemons.BOTH:
        each.wait_active(60)
        equal(package.program(each), f"/usr/sbin/{each}", f"{step}: the program that runs")
    wait_until(lambda: stafd.listed_subsystems() == [DISK], 30, f"{step}: stafd lists it", poll=0.2)
    wait_until(lambda: {each["device"] for each in stacd.controllers()} == {each.device for each in host.with_nqn(DISK)}, 30,
               lambda: f"{step}: stacd has its connection\n{stacd.controllers()}\n{host.picture()}", poll=0.2)


def removed(configured):
    package.remove()
    check(not any(each.active() for each in daemons.BOTH), "removal stops both daemons")
    equal(package.configuration(), configured, "the configuration after the removal")


def purged():
    package.purge()
    left = [path for path in ("/etc/stas/stafd.conf", "/etc/stas/stacd.conf", "/run/stafd", "/run/stacd", "/run/nvme-stas") if os.path.exists(path)]
    equal(left, [], "what a purge leaves")
    registry = "/run/nvme/registry"
    owners = [host.read(f"{registry}/{name}/owner") for name in os.listdir(registry)] if os.path.isdir(registry) else []
    check("stas" not in owners, "no claim is left", owners)
