"""A DC to which another DC refers is connected and read. Without the referral, only this DC and its subsystems are disconnected."""

from scene import daemons, equal, host, stays, target, wait_until
from scene.daemons import stafd

LIMIT = 150
REFERRED = "nqn.2014-08.org.nvmexpress:scene:referred"


def play():
    target.three()
    target.port(2, trsvcid="8010")
    target.subsystem(REFERRED, ports=(2,))
    target.referral("second", "::1", "8010")
    daemons.configure()
    daemons.start()
    host.wait_live(*target.THREE, REFERRED)
    wait_until(lambda: len(stafd.controllers()) == 2, 10, "stafd lists two DCs", poll=0.2)
    equal({each["trsvcid"]: each["origin"] for each in stafd.controllers()}, {"8009": "configured", "8010": "referral"}, "origins")
    stays(lambda: host.live(REFERRED), 31, "the referred DC's subsystem, until the page is proof")
    with host.nothing_lost(only=lambda each: each.trsvcid == "8009"):
        target.remove_referral("second")
        host.wait_gone(REFERRED, timeout=60)
        wait_until(lambda: len(host.dcs()) == 1, 60, lambda: f"only the first DC\n{host.picture()}")
