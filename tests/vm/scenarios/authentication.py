"""DH-HMAC-CHAP works in one direction and in both. A wrong secret is reported and does not delay other controllers; after it is corrected, a reload connects the controller."""

from scene import check, daemons, host, stays, target, wait_until
from scene.daemons import stacd

LIMIT = 300
# A target that refuses a secret sometimes does not answer at all. The kernel's connect, of which there
# is one at a time on a host, then waits 60 s. This cannot be interrupted.
SILENCE = 61
ONE_WAY = "nqn.2014-08.org.nvmexpress:scene:one-way"
BOTH_WAYS = "nqn.2014-08.org.nvmexpress:scene:both-ways"
WRONG = "nqn.2014-08.org.nvmexpress:scene:wrong"


def play():
    keys = {name: host.run("nvme", "gen-dhchap-key", "--hmac=1").strip() for name in ("host", "ctrl", "other")}
    target.three()
    # A key belongs to a host NQN. Mutual authentication uses another host NQN, which needs a host ID of its own.
    target.port(2, trsvcid="4420")
    for nqn in (ONE_WAY, BOTH_WAYS, WRONG):
        target.subsystem(nqn, ports=(2,))
        target.only_for(nqn, host.hostnqn(), keys["host"], keys["ctrl"])
    configure(keys, keys["other"])
    daemons.start()
    host.wait_live(*target.THREE, ONE_WAY, BOTH_WAYS, timeout=30 + SILENCE)
    stays(lambda: not host.live(WRONG), 3, "no connection with a wrong secret")

    def entry():
        (found,) = [each for each in stacd.controllers() if each["subsysnqn"] == WRONG]
        return found
    wait_until(lambda: entry()["device"] == "nvme?" and (stacd.peer or entry().get("reason")), 10 + SILENCE,
               lambda: f"`ls` shows why it is not connected\n{entry()}", poll=0.5)
    for each in host.live(ONE_WAY) + host.live(BOTH_WAYS):
        mode = host.run("stat", "--format=%a", f"/sys/class/nvme/{each.device}/dhchap_secret").strip()
        check(stacd.peer or mode == "600", "the secret in sysfs is readable by root alone", mode)
    with host.nothing_lost(only=lambda each: each.nqn != WRONG):
        configure(keys, keys["host"])
        stacd.reload()
        host.wait_live(WRONG, timeout=30 + SILENCE)
    wait_until(lambda: len(host.iocs()) == 6, 10, lambda: f"six connections\n{host.picture()}")


def configure(keys, wrong):
    daemons.configure()
    place = "controller=transport=tcp;traddr=::1;trsvcid=4420"
    stacd.configure("[Controllers]\n"
                    f"{place};nqn={WRONG};dhchap-secret={wrong}\n"
                    f"{place};nqn={ONE_WAY};dhchap-secret={keys['host']}\n"
                    f"{place};nqn={BOTH_WAYS};dhchap-secret={keys['host']};dhchap-ctrl-secret={keys['ctrl']}\n", 0o600)
