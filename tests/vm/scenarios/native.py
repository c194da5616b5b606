"""Connections are made and removed by programs that are not installed (`make coverage NATIVE=1`). The script refuses to run while a daemon runs, and leaves nothing behind."""

import os

from scene import check, daemons, equal, host
from scene.host import run

LIMIT = 240
LIFE = "/harness/guest/native"


def play():
    daemons.configure()
    daemons.start()
    refused = run(LIFE, "/usr", check=False)
    equal(refused.returncode, 3, "it refuses while the daemons run")
    check(f"{daemons.stafd} runs on this machine" in refused.stderr, "it says why", refused.stderr)
    daemons.stop()
    # Longer than all waits of the script together: it must end by itself, because its daemons would outlive it.
    done = run(LIFE, "/usr", check=False, timeout=180)
    check(done.stdout.endswith("native: passed\n"), "it is played to its end", done.stdout + done.stderr)
    equal(host.controllers(), [], "no connection is left")
    equal([os.listdir(f"/sys/kernel/config/nvmet/{each}") for each in ("ports", "subsystems")], [[], []], "no target is left")
