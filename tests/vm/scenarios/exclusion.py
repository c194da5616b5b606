"""exclude= overrides configured and discovered controllers, disconnects existing connections at a reload, and touches no other connection. The last path to swap is kept."""

from scene import check, daemons, host, journal, stays, target, wait_until

LIMIT = 150
FIRST = "transport=tcp;traddr=::1;trsvcid=8009"
SWAP = "nqn.2014-08.org.nvmexpress:scene:swap"
SECOND = "transport=tcp;traddr=::1;trsvcid=8010"


def play():
    target.three()
    target.port(2, trsvcid="8010")
    target.subsystem("nqn.2014-08.org.nvmexpress:scene:second", ports=(2,))
    excluded = f"[Controllers]\nexclude=nqn={target.KLINGONS}\n"
    daemons.configure(FIRST, SECOND, stacd_more=excluded)
    daemons.start()
    host.wait_live(target.STARFLEET, target.POWERSAN, "nqn.2014-08.org.nvmexpress:scene:second")
    stays(lambda: not host.with_nqn(target.KLINGONS), 3, "an excluded subsystem is never connected")

    # Excluded while connected.
    with host.nothing_lost(only=lambda each: each.nqn != target.STARFLEET):
        daemons.stacd.configure(f"{excluded}exclude=nqn={target.STARFLEET}\n")
        daemons.stacd.reload()
        host.wait_gone(target.STARFLEET, timeout=30)

    # Allowed again.
    daemons.stacd.configure("")
    daemons.stacd.reload()
    host.wait_live(*target.THREE)

    # A DC is excluded by an address that is written differently.
    with host.nothing_lost(only=lambda each: each.trsvcid != "8010"):
        configuration = host.read(daemons.stafd.conf)
        daemons.stafd.configure(f"{configuration}\nexclude=transport=tcp;traddr=0:0:0:0:0:0:0:1;trsvcid=8010\n")
        daemons.stafd.reload()
        wait_until(lambda: not [each for each in host.dcs() if each.trsvcid == "8010"], 30,
                   lambda: f"the excluded DC goes\n{host.picture()}")
        # The subsystems that only this DC listed are disconnected.
        host.wait_gone("nqn.2014-08.org.nvmexpress:scene:second", timeout=30)
    swap_is_kept()
    # An empty exclude= excludes nothing.
    with host.nothing_lost():
        daemons.stacd.configure("[Controllers]\nexclude=\nexclude=host-traddr=192.0.2.77\n")
        daemons.stacd.reload()
        stays(lambda: len(host.iocs()) >= 3, 3, "everything stays")
    check(daemons.stacd.active() and daemons.stafd.active(), "both daemons are active")


def swap_is_kept():
    """Swap is on the subsystem: despite exclude=, the last path is kept, and the reason is logged, until swap is off."""
    target.subsystem(SWAP, keeps=True)
    host.wait_live(SWAP)
    device = host.disk(SWAP)
    host.run("mkswap", f"/dev/{device}")
    host.run("swapon", f"/dev/{device}")
    try:
        (last,) = host.with_nqn(SWAP)
        with host.nothing_lost(only=lambda each: each.nqn == SWAP):
            daemons.stacd.configure("[Controllers]\nexclude=transport=tcp\n")
            daemons.stacd.reload()
            journal.wait_for(f"{last.device} is no longer wanted, but is kept.*swap", 20, "stacd")
            host.wait_gone(*target.THREE, timeout=30)
            stays(lambda: host.live(SWAP), 5, "the only path to the swap")
    finally:
        host.run("swapoff", f"/dev/{device}")
    host.wait_gone(SWAP, timeout=60)
    daemons.stacd.configure("")
    daemons.stacd.reload()
    host.wait_live(*target.THREE)
