"""A TLS connection made by nvme-cli is adopted. If it is lost, stacd does not replace it by an unencrypted one, unless stacd.conf says tls=false."""

import os
import subprocess

from scene import check, daemons, host, journal, skip, stays, target, wait_until
from scene.daemons import stacd

LIMIT = 120
NQN = "nqn.2014-08.org.nvmexpress:scene:encrypted"
PORT = f"{target.NVMET}/ports/9"
SERVICE = "4421"
CONFIGURATION = "/run/harness/tlshd.conf"
ENCRYPTED = "its last connection was encrypted"


def play():
    if stacd.peer:
        return
    if host.on_debian_12():
        skip("Debian 12 has no tlshd (ktls-utils)")
    host.run("modprobe", "-a", "tls", "nvme_tcp", "nvmet_tcp")
    host.run("nvme", "gen-tls-key", "--insert", "--identity=1", f"--subsysnqn={NQN}", f"--hostnqn={host.hostnqn()}")
    target.subsystem(NQN, ports=())
    with open(CONFIGURATION, "w") as file:
        file.write("[authenticate]\nkeyrings=.nvme\n")
    # It performs the handshakes of host and target.
    tlshd = subprocess.Popen(["tlshd", "--stderr", f"--config={CONFIGURATION}"])
    try:
        encrypted_port()
        lost()
    finally:
        daemons.stop()
        host.disconnect_all()
        remove_port()
        tlshd.terminate()
        tlshd.wait(10)


def encrypted_port():
    os.mkdir(PORT)
    for name, value in (("trtype", "tcp"), ("adrfam", "ipv6"), ("traddr", "::1"), ("trsvcid", SERVICE), ("tsas", "tls1.3"), ("treq", "required")):
        with open(f"{PORT}/addr_{name}", "w") as file:
            file.write(value)
    os.symlink(f"{target.NVMET}/subsystems/{NQN}", f"{PORT}/subsystems/{NQN}")


def remove_port():
    if os.path.isdir(PORT):
        os.unlink(f"{PORT}/subsystems/{NQN}")
        os.rmdir(PORT)


def lost():
    # The kernel refuses (ESRCH) until tlshd has subscribed to its handshakes; nothing else shows when that is.
    wait_until(lambda: connect().returncode == 0, 20, lambda: f"nvme connect --tls succeeds\n    seen: {connect().stderr}", poll=0.2)
    host.wait_live(NQN)
    (encrypted,) = host.live(NQN)
    check(encrypted.attribute("tls_key"), "it is encrypted", encrypted)
    with host.nothing_lost():
        configure()
        stacd.start()
        wait_until(lambda: row()["device"] == encrypted.device, 10, lambda: f"stacd adopts it\n    seen: {row()}", poll=0.2)
        stays(lambda: host.live(NQN), 2, "it stays connected")

    # From now on the target accepts unencrypted connections at this address.
    encrypted.delete()
    remove_port()
    target.port(2, traddr="::1", trsvcid=SERVICE)
    target.link(NQN, 2)
    for restart in (None, stacd.restart):
        if restart:
            restart()
        stays(lambda: not host.with_nqn(NQN), 10, "after the loss it is not connected without TLS")
        check(row()["device"] == "nvme?" and ENCRYPTED in row().get("reason", ""), "`ls` shows why", row())
    journal.wait_for(ENCRYPTED, 5, "stacd")
    configure("[Global]\ntls=false\n")
    stacd.reload()
    host.wait_live(NQN)


def connect():
    return host.run("nvme", "connect", "--tls", "--transport=tcp", "--traddr=::1", f"--trsvcid={SERVICE}", f"--nqn={NQN}", check=False)


def configure(more=""):
    stacd.configure(f"{more}[Controllers]\ncontroller=transport=tcp;traddr=::1;trsvcid={SERVICE};nqn={NQN}\n")


def row():
    (found,) = stacd.controllers()
    return found
