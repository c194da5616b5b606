"""The package replaces Debian's nvme-stas 2.4.1, and is replaced by it again, and `make install` replaces it as README.md describes, while fio runs: no connection is lost, no request fails, and configuration and enabled units are kept."""

from scene import check, daemons, equal, fio, host, package, target, wait_until
from scene.daemons import stacd

LIMIT = 600
FRESH_MACHINE = True
COVERAGE = False
DISK = "nqn.2014-08.org.nvmexpress:scene:disk"
CONTROLLER = f"controller=transport=tcp;traddr=::1;trsvcid=8009;nqn={DISK}"


def play():
    if stacd.peer:
        return
    package.needed()
    target.port()
    target.subsystem(DISK, keeps=True)
    package.pack_theirs()
    try:
        replace()
    finally:
        package.install_tree()


def replace():
    package.install(package.THEIRS)
    host.run("systemctl", "enable", *[each.unit for each in daemons.BOTH])
    daemons.stop()
    daemons.configure(stacd_more=f"[Controllers]\n{CONTROLLER}\n")
    before = package.configuration()
    daemons.start()
    host.wait_live(DISK, timeout=90)
    host.wait_dc(timeout=90)
    check(all("python" in package.program(each) for each in daemons.BOTH), "2.4.1 runs", [package.program(each) for each in daemons.BOTH])
    disk = host.disk(DISK)
    with host.nothing_lost(), fio.verifying(disk, "package", rate=10):
        for step in ("upgrade from 2.4.1", "reinstallation"):
            package.install(package.OURS)
            unchanged(step, before)
            adopted(step)
        package.install(package.THEIRS)
        unchanged("downgrade", before)
        check(all("python" in package.program(each) for each in daemons.BOTH), "2.4.1 runs again",
              [package.program(each) for each in daemons.BOTH])
        wait_until(lambda: stacd.call("list_controllers", "b", "true", check=False).returncode == 0, 60, "its stacd answers", poll=0.5)
        switches_over(before)


def switches_over(before):
    """The commands of README.md for a host that has the distribution's package, and `make install`."""
    host.run("cp", "-a", "/etc/stas", "/etc/stas.kept")
    host.run("apt-get", "--yes", "purge", "nvme-stas", timeout=package.PATIENT)
    check(not any(each.installed() for each in daemons.BOTH), "the package is purged", package.state())
    host.run("sh", "-c", "rm -rf /etc/stas && mv /etc/stas.kept /etc/stas")
    # `make install` keeps edited configuration files.
    package.make_install("--exclude=./etc/stas")
    host.run("systemctl", "enable", "--now", *[each.unit for each in daemons.BOTH])
    unchanged("switch-over", before)
    adopted("switch-over")


def adopted(step):
    for each in daemons.BOTH:
        equal(package.program(each), f"/usr/sbin/{each}", f"{step}: the program that runs")
    wait_until(lambda: {each["device"] for each in stacd.controllers()} == {each.device for each in host.with_nqn(DISK)}, 30,
               lambda: f"{step}: stacd has adopted the connection\n{stacd.controllers()}\n{host.picture()}", poll=0.2)


def unchanged(step, before):
    for each in daemons.BOTH:
        each.wait_active(60)
        equal(package.enabled(each), "enabled", f"{step}: {each}")
    equal(package.configuration(), before, f"{step}: the configuration")
