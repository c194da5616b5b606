"""`stacctl ls` shows namespaces, a changed ANA state and when the kernel gives up a lost connection, the story survives a restart, and the start and the end of an outage each start a unit."""

import datetime
import json
import os
import shutil

from scene import check, daemons, equal, host, target, wait_until

LIMIT = 150
WIDE_BOUNDS = True  # it mostly waits, and does not need the processor
ANA_STATE = f"{target.NVMET}/ports/1/ana_groups/1/ana_state"
UNUSABLE = "inaccessible"
ALERTS = "/run/harness/alerts"
# The subsystems that stas-alert has reported as down.
DOWN = "/run/stas-alert/down.json"
CTRL_LOSS_TMO = 600


def play():
    target.three()
    daemons.connected_to(target.THREE, stacd_global=f"reconnect-delay=1\nctrl-loss-tmo={CTRL_LOSS_TMO}")
    shows_namespaces()
    follows_ana_states()
    story_goes_on()
    outage()


def shown(nqn):
    """Returns what `ls -d` shows a user without privileges of the only path to a subsystem."""
    answer = daemons.stacd.tool("ls", "--detailed", "--output", "json", nqn, user="tester")
    paths = json.loads(answer)["controllers"]
    equal(len(paths), 1, f"the number of paths to {nqn}")
    return paths[0]


def table():
    return daemons.stacd.tool("ls", "--output", "table", user="tester")


def shows_namespaces():
    for nqn, count in zip(target.THREE, (3, 2, 1)):
        # The kernel reads the namespaces after the controller is live.
        wait_until(lambda nqn=nqn, count=count: len(shown(nqn)["namespaces"]) == count, 20, lambda: f"the namespaces of {nqn}")
        path = shown(nqn)
        for each in path["namespaces"]:
            size = int(host.read(f"/sys/class/block/{each['device']}/size")) * 512
            equal((each["bytes"], each["ana_state"]), (size, "optimized"), f"size and ANA state of {each['device']}")
            check(os.path.exists(f"/dev/{each['device']}"), f"{each['device']} is a block device", path)
        equal((path["owner"], path["ctrl_loss_tmo"], path["reconnect_delay"]), ("stas", CTRL_LOSS_TMO, 1), f"{nqn} in detail")
        equal(path["gives_up_at"], None, "it is connected")
    check("n1 +2 " in table(), "the table shows the first of three namespaces", table())
    names = daemons.stacd.tool("ls", "--names").splitlines()
    check(set(target.THREE) < set(names) and len(names) == 6, "--names lists three devices and three NQNs", names)


def follows_ana_states():
    for state in (UNUSABLE, "optimized"):
        with open(ANA_STATE, "w") as file:
            file.write(state)
        wait_until(lambda: {each["ana_state"] for each in shown(target.KLINGONS)["namespaces"]} == {state}, 20,
                   lambda: f"ls shows {state}\n{shown(target.KLINGONS)}", poll=0.2)
        wait_until(lambda: (f"is {UNUSABLE} on this path (ANA)" in table()) == (state == UNUSABLE), 20,
                   lambda: f"the table says which paths cannot do I/O\n{table()}", poll=0.2)


def story_goes_on():
    since = shown(target.KLINGONS)["since"]
    for end in (daemons.stacd.restart, kill):
        end()
        wait_until(lambda: shown(target.KLINGONS)["state"] == "connected", 30, "stacd uses its connections again")
        equal(shown(target.KLINGONS)["since"], since, "the start of the connection after a restart")
    story = daemons.stacd.tool("why", target.KLINGONS, user="tester")
    check("  listed: " in story and "connected: nvme" in story, "the story begins before the restart", story)
    equal(story.count("the daemon was started again"), 2, "the number of restarts in the story")


def kill():
    # A kill loses the lines of the last seconds.
    saved = "the daemon was started again"
    wait_until(lambda: saved in host.read("/run/stacd/history.json"), 10, "the history is saved")
    daemons.stacd.wait_active(30, other_than=daemons.stacd.kill9())


def outage():
    shutil.rmtree(ALERTS, ignore_errors=True)
    override("stas-alert", "Environment=AFTER=3")
    for name in ("down", "up"):
        override(f"stas-alert-{name}@", f"ExecStart=\nExecStart=:/usr/bin/mkdir -p {ALERTS}/{name}/%I")
    host.run("systemctl", "daemon-reload")
    host.run("systemctl", "start", "stas-alert.service")
    target.remove_port()
    wait_until(lambda: shown(target.KLINGONS)["state"] == "reconnecting", 30, "stacd notices the loss", poll=0.2)
    path = shown(target.KLINGONS)
    lost, gives_up = (datetime.datetime.fromisoformat(path[key]) for key in ("since", "gives_up_at"))
    equal((gives_up - lost).total_seconds(), float(CTRL_LOSS_TMO), "seconds until the kernel gives up")
    check("the kernel gives up at about" in table(), "the table says when the kernel gives up", table())
    wait_until(lambda: alerts("down") == sorted(target.THREE), 30, lambda: f"an alert for each\n    seen: {alerts('down')}")
    equal(alerts("up"), [], "the outage goes on")
    # stas-alert starts the unit before it saves the outage. If it is restarted in between, it does not know that it has
    # reported the outage.
    wait_until(lambda: json.loads(host.read(DOWN) or "[]") == sorted(target.THREE), 10,
               lambda: f"it has saved all outages\n    seen: {host.read(DOWN)}")
    host.run("systemctl", "restart", "stas-alert.service")
    target.port()
    for nqn in target.THREE:
        target.link(nqn)
    host.wait_live(*target.THREE, timeout=60)
    wait_until(lambda: alerts("up") == sorted(target.THREE), 30, lambda: f"the end of each alert\n    seen: {alerts('up')}")
    host.run("systemctl", "stop", "stas-alert.service")


def override(unit, text):
    folder = f"{daemons.OVERRIDES}/{unit}.service.d"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/scenario.conf", "w") as file:
        file.write(f"[Service]\n{text}\n")


def alerts(kind):
    folder = f"{ALERTS}/{kind}"
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
