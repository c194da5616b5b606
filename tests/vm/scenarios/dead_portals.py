"""With 30 configured portals that do not answer, three working subsystems are connected in at most 3.5 times the time that systemd and the kernel need, also during every round of retries, except for one connect to a dead portal now and then."""

import time

from scene import compare, daemons, host, network, reference, target

LIMIT = 420
COVERAGE = False
ROUNDS = 3
# A connect to one dead portal, which puts the result of its probe to the test: now and then the new subsystem waits for one.
TEST = 3.2


def play():
    target.three()
    one = reference.connections([target.KLINGONS])
    idle = reference.IdleDaemons().started()
    alone = idle + reference.connections(target.THREE)
    dead = network.swallowing_portals(30)
    # The dead portals come first in the files. Half of them are DCs, half are I/O controllers.
    daemons.configure(*[f"transport=tcp;traddr={address};trsvcid=8009" for address in dead[:15]],
                      "transport=tcp;traddr=::1;trsvcid=8009",
                      stacd_more="[Controllers]\n" + "\n".join(
                          f"controller=transport=tcp;traddr={address};trsvcid=4420;nqn=nqn.2014-08.org.nvmexpress:scene:dead"
                          for address in dead[15:]))
    before = daemons.start()
    host.wait_live(*target.THREE, timeout=300)
    compare("three good subsystems beside 30 dead portals", time.monotonic() - before, alone, "two idle daemons and three bare writes",
            at_most=3.5, peer=202)

    # While dead portals are retried, a new subsystem must not wait for them.
    worst = 0.0
    for number in range(ROUNDS):
        host.wait_live(*target.THREE)
        nqn = f"nqn.2014-08.org.nvmexpress:scene:late-{number}"
        target.subsystem(nqn, ports=())
        spread(number)
        before = time.monotonic()
        target.link(nqn)
        host.wait_live(nqn, timeout=100)
        worst = max(worst, time.monotonic() - before)
    compare("a new subsystem amid the retries, the slowest of three", worst, one, "one bare write", at_most=12, delays=TEST)


def spread(number):
    """The retries come at about 1, 2, 4, 8 … seconds: the three trials fall into different rounds."""
    time.sleep((2.5, 5.5, 10.5)[number])  # an offset in time, not a condition
