"""nvmet creates its sample targets on this kernel, changes nothing when it is run again, unlinks and links subsystems, and leaves nothing behind."""

import json
import os

from scene import check, equal, host
from scene.target import KLINGONS, NVMET, THREE

SAMPLES = "/usr/share/nvme-stas/nvmet"
LIMIT = 150
NEEDS_DAEMONS = False


def play():
    sample = f"{SAMPLES}/nvmet.conf"
    dry = host.run("nvmet", "create", "-f", sample, "--dry-run")
    check(dry.strip() and not names("subsystems"), "--dry-run tells what it would do and does nothing", names("subsystems"))
    host.run("nvmet", "create", "-f", sample)
    equal(names("ports/1/subsystems"), sorted(THREE), "exported subsystems")
    equal({nqn: len(names(f"subsystems/{nqn}/namespaces")) for nqn in THREE}, dict(zip(THREE, (3, 2, 1))), "namespaces")
    before = {nqn: os.stat(f"{NVMET}/subsystems/{nqn}").st_ino for nqn in THREE}
    host.run("nvmet", "create", "-f", sample)
    equal({nqn: os.stat(f"{NVMET}/subsystems/{nqn}").st_ino for nqn in THREE}, before, "the subsystems after a second create")
    check(all(nqn in json.dumps(json.loads(host.run("nvmet", "ls", "-o", "json"))) for nqn in THREE), "`nvmet ls` shows them")

    host.connect(KLINGONS)
    host.wait_live(KLINGONS)
    host.run("nvmet", "unlink", "-p", "1", "-s", KLINGONS)
    equal(names("ports/1/subsystems"), sorted(set(THREE) - {KLINGONS}), "exported after unlink")
    host.run("nvmet", "link", "-p", "1", "-s", KLINGONS)
    equal(names("ports/1/subsystems"), sorted(THREE), "exported after link")

    for name, count in (("large", 64), ("auth", 1), ("loop", 1)):
        host.run("nvmet", "create", "-d", "-f", f"{SAMPLES}/{name}.conf")
        equal(len(names("subsystems")), count, f"subsystems of {name}.conf, and no others")
    host.disconnect_all()
    host.run("nvmet", "clean")
    equal([names(kind) for kind in ("ports", "subsystems", "hosts")], [[], [], []], "what is left after clean")


def names(kind):
    path = f"{NVMET}/{kind}"
    return sorted(os.listdir(path)) if os.path.isdir(path) else []
