"""A controller that is removed from the configuration is disconnected at a reload; all other connections are not touched. A subsystem whose line becomes unclear, or that moves to the page of a new DC, stays connected."""

import os

from scene import check, daemons, host, stays, target, wait_until

LIMIT = 180
FIRST = "transport=tcp;traddr=::1;trsvcid=8009"
SECOND = "transport=tcp;traddr=::1;trsvcid=8010"
BY_HAND = "nqn.2014-08.org.nvmexpress:scene:by-hand"
LONELY = "nqn.2014-08.org.nvmexpress:scene:configured"
MOVED = "nqn.2014-08.org.nvmexpress:scene:moved"
THIRD = "transport=tcp;traddr=::1;trsvcid=4421"


def play():
    target.three()
    target.port(2, trsvcid="8010")
    target.subsystem("nqn.2014-08.org.nvmexpress:scene:second", ports=(2,))
    # On a port of its own: no DC lists these two.
    target.port(3, trsvcid="4420")
    target.subsystem(BY_HAND, ports=(3,))
    target.subsystem(LONELY, ports=(3,))
    host.connect(BY_HAND, trsvcid="4420")
    lonely = f"[Controllers]\ncontroller=transport=tcp;traddr=::1;trsvcid=4420;nqn={LONELY}\n"
    everything = [*target.THREE, "nqn.2014-08.org.nvmexpress:scene:second", LONELY]
    daemons.configure(FIRST, SECOND, stacd_more=lonely)
    daemons.start()
    host.wait_live(*everything)
    host.wait_dc(2)

    # The controller that is configured in stacd.conf is removed.
    with host.nothing_lost(only=lambda each: each.nqn != LONELY):
        daemons.stacd.configure("")
        daemons.stacd.reload()
        host.wait_gone(LONELY, timeout=30)

    # The second DC is removed, and the subsystems that only it listed.
    def stays_here(each):
        return each.trsvcid != "8010"
    with host.nothing_lost(only=stays_here):
        daemons.configure(FIRST)
        daemons.stafd.reload()
        wait_until(lambda: all(stays_here(each) for each in host.controllers()), 30,
                   lambda: f"nothing through the second DC\n    seen:\n{host.picture()}")
        stays(lambda: len(host.iocs()) == 4, 5, "the three of the first DC and the one connected by hand")
    check(len(host.dcs()) == 1, "one DC", host.picture())

    # In the line of a subsystem = is mistyped, which would mean another port. Then the subsystem moves to a new DC.
    target.port(4, trsvcid="4421")
    target.subsystem(MOVED, ports=(4,))
    line = f"[Controllers]\ncontroller={THIRD};nqn={MOVED}\n"
    daemons.stacd.configure(line)
    daemons.stacd.reload()
    host.wait_live(MOVED)
    with host.nothing_lost():
        daemons.stacd.configure(line.replace("trsvcid=", "trsvcid:"))
        daemons.stacd.reload()
        stays(lambda: host.live(MOVED), 15, "the subsystem of the unclear line is connected")
    with host.nothing_lost():
        daemons.configure(FIRST, THIRD)
        for each in daemons.BOTH:
            each.reload()
        host.wait_dc(2)
        stays(lambda: host.live(MOVED), 15, "the subsystem that has moved to a new DC is connected")

    # A reload without changes, and one with an unreadable file, disconnect nothing.
    with host.nothing_lost():
        for each in daemons.BOTH:
            each.reload()
        host.run("mv", daemons.stafd.conf, daemons.stafd.conf + ".away")
        os.mkdir(daemons.stafd.conf)
        host.run("systemctl", "reload", "stafd", check=False)
        stays(lambda: len(host.controllers()) == 7, 5, "everything is there without a readable configuration")
        check(daemons.stafd.active(), "stafd is active without a readable configuration")
