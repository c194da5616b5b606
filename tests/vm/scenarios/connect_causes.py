"""For each kind of failed connect, the log names the likely cause and its remedy."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading

from scene import daemons, host, journal, target, wait_until
from scene.daemons import stacd, stafd

LIMIT = 240
ALLOWED = "nqn.2014-08.org.nvmexpress:scene:allowed"
REFUSED = "nqn.2014-08.org.nvmexpress:scene:not-for-this-host"
SECRET = "nqn.2014-08.org.nvmexpress:scene:with-a-secret"
TYPO = "nqn.2014-08.org.nvmexpress:scene:allowde"
OTHER_ID = "2b1f5a52-7d33-4c1e-9f0a-8d5c3e1b7aff"
FC = "transport=fc;traddr=nn-0x1000000000000001:pn-0x2000000000000001;host-traddr=nn-0x1000000000000002:pn-0x2000000000000002"
TCP = "transport=tcp;traddr=::1;trsvcid=8009"
# Too long for the kernel's option: with a short alternative name the connect succeeds.
ALTERNATIVE = "alternative-name-of-lo"
WEB = 8080

# The configuration, and what the log must say about it, in this order.
LINES = [
    (f"{TCP};nqn={TYPO}", f"no subsystem {TYPO} at this port: compare nqn with .*nvme discover -t tcp.*is not allowed there"),
    (f"{TCP};nqn={REFUSED}", "the target refused .*host NQN .* is not allowed there: allow it on the target"),
    (f"{TCP};nqn={SECRET}", "the target requires DH-HMAC-CHAP, and no secret is configured: set dhchap-secret"),
    (f"{TCP};nqn={SECRET};host-iface=nosuch0", "host-iface nosuch0: this host has no interface of that name.*`ip link`"),
    (f"{TCP};nqn={SECRET};host-iface={ALTERNATIVE}", f"host-iface {ALTERNATIVE}: .*for an alternative name set the one that it shows first"),
    (f"{TCP};nqn={SECRET};warp=9", "stacd.conf:[0-9]+: controller=: .*is not a key of controller=; this part is ignored"),
    (f"{TCP};nqn={SECRET};host-traddr=127.0.0.1", "controller= is refused: host-traddr and traddr have different address families"),
    (f"{TCP};nqn={SECRET};host-traddr=fd00::77", "host-traddr fd00::77 is no address of this host"),
    (f"transport=tcp;traddr=::1;trsvcid=4499;nqn={ALLOWED}", "refuses connections"),
    (f"{FC};nqn={ALLOWED}", "the FC port nn-0x1000000000000001:pn-0x2000000000000001 is not seen from .*zoning"),
]


def play():
    key = host.run("nvme", "gen-dhchap-key", "--hmac=1").strip()
    host.run("modprobe", "-a", "nvme_fc")
    with target.together():
        target.port()
        for nqn in (ALLOWED, REFUSED, SECRET):
            target.subsystem(nqn)
    target.hide(REFUSED)
    target.only_for(SECRET, host.hostnqn(), key)
    daemons.configure(stacd_more="[Controllers]\n" + "".join(f"controller={line}\n" for line, _ in LINES))
    host.run("ip", "link", "property", "add", "dev", "lo", "altname", ALTERNATIVE)
    try:
        stacd.start()
        for line, words in LINES:
            said = journal.wait_for(words, 60, "stacd")
            print(f"{line}\n    {said}")
        stacd.stop()
    finally:
        host.run("ip", "link", "property", "del", "dev", "lo", "altname", ALTERNATIVE)
    io_subsystem_in_stafd_conf()
    web_server_as_the_only_dc()
    another_identity()


def io_subsystem_in_stafd_conf():
    """The NQN alone does not show whether it belongs to a discovery subsystem; the kernel reports it."""
    daemons.configure(f"{TCP};nqn={ALLOWED}")
    stafd.start()
    print(journal.wait_for(f"configured in {stafd}.conf:[0-9]+, but not connected: .*{ALLOWED} is perhaps an I/O subsystem, not a discovery "
                           "subsystem: put it into stacd.conf", 60, "stafd"))
    stafd.stop()


def web_server_as_the_only_dc():
    """A single DC is not probed: the kernel finds out that another service answers, or that no answer comes."""
    for serve, words in ((refusing_web_server, f"not NVMe/TCP: something else answers at ::1 port {WEB}"),
                         (waiting_web_server, f"not NVMe/TCP: the port accepts connections.*something else listens at ::1 port {WEB}")):
        with serve():
            daemons.configure(f"transport=tcp;traddr=::1;trsvcid={WEB}")
            stafd.start()
            print(journal.wait_for(words, 30, "stafd"))
            stafd.stop()


@contextlib.contextmanager
def refusing_web_server():
    """Answers any request at once with an error."""
    with socket.create_server(("::1", WEB), family=socket.AF_INET6) as listener:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    stream, _ = listener.accept()
                    with stream:
                        stream.recv(1024)
                        stream.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" + bytes(128))
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@contextlib.contextmanager
def waiting_web_server():
    """Waits for the end of the first line."""
    with tempfile.TemporaryDirectory() as folder:
        web = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "::1", "--directory", folder, str(WEB)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(listens, 20, "the web server listens", poll=0.1)
            yield
        finally:
            web.kill()
            web.wait()


def listens():
    with socket.socket(socket.AF_INET6) as trial:
        return trial.connect_ex(("::1", WEB)) == 0


def another_identity():
    """A connection has this host NQN and another host ID: the log names both IDs, and new connections use that ID."""
    descriptor = os.open(host.FABRICS, os.O_RDWR)
    try:
        words = f"transport=tcp,traddr=::1,trsvcid=8009,nqn={ALLOWED},hostnqn={host.hostnqn()},hostid={OTHER_ID}"
        os.write(descriptor, words.encode())
    finally:
        os.close(descriptor)
    host.wait_live(ALLOWED)
    stacd.configure(f"[Controllers]\ncontroller={TCP};nqn={SECRET}\n")
    stacd.start()
    said = journal.wait_for(f"the kernel's connections have the host ID {OTHER_ID} with the host NQN {host.hostnqn()}"
                            f".*{host.hostid()}", 60, "stacd")
    print(said)
