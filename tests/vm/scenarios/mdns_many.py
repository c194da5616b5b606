"""Of 50 announced DCs 45 do not answer: the other five are connected as fast as if they were alone."""

from scene import announcer, check, compare, daemons, host, journal, network, reference, target, wait_until
from scene.announcer import Service
from scene.daemons import stafd

LIMIT = 120
# Seconds between two rounds of the browser.
PACE = 0.5


def play():
    neighbour = network.Neighbour("target")
    alive = [f"192.0.2.{number}" for number in range(2, 7)]
    lan = neighbour.cable("lan", "192.0.2.1/24", [f"{each}/24" for each in alive])
    target.lives_at(neighbour)
    with target.together():
        target.port()
        for nqn in target.THREE:
            target.subsystem(nqn)
    alone = reference.connections(target.THREE, dc=True, traddr=alive[0])
    stafd.configure("")
    daemons.stacd.configure("")
    daemons.start()
    dead = [f"192.0.2.{number}" for number in range(100, 145)]
    services = [Service(f"dc {each}", {lan: [each]}) for each in dead[:30] + alive + dead[30:]]
    with announcer.Announcer(neighbour, lan) as air:
        wait_until(lambda: air.queries, 10, "stafd asks who is there")
        air.announce(*services)
        compare("50 announcements to five DCs connected", host.wait_dc(5), alone, "four bare writes", at_most=8, delays=PACE)
        took = wait_until(lambda: sum(each.state == "live" for each in host.iocs()) == 15, 30, host.picture)[1]
        compare("and three subsystems of each", took, alone, "four bare writes", at_most=20)
        wait_until(lambda: len(stafd.controllers(False)) == 50, 10, lambda: f"all are shown: {len(stafd.controllers(False))}")
        waiting = [each for each in stafd.controllers() if each["state"] in ("waiting", "queued")]
        wait_until(lambda: len([each for each in stafd.controllers() if each.get("reason")]) == 45, 30, "it shows why 45 are not connected")
        check(len(waiting) == 45, "45 wait", waiting)
        check(len(journal.messages("stafd")) < 300, "the journal stays readable", len(journal.messages("stafd")))
