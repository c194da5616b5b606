"""A DC that is the only controller sees only the kernel's connection, and no probe. A probe closes its connection in order. A web server at the address delays nothing."""

import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from scene import check, daemons, host, measure, note, target, wait_until
from scene.daemons import stafd

LIMIT = 300
COVERAGE = False
ROUNDS = 3
PAIR = ["nqn.2014-08.org.nvmexpress:scene:good-1", "nqn.2014-08.org.nvmexpress:scene:good-2"]
GOOD = "transport=tcp;traddr=::1;trsvcid=8009"
WEB = 8080
ECHO = 8011
ICRESP = bytes([1, 0, 128, 0, 128, 0, 0, 0]) + bytes(120)


def play():
    with target.together():
        target.port()
        for nqn in PAIR:
            target.subsystem(nqn)
    alone()
    in_order()
    beside_a_web_server()


def alone():
    daemons.configure(GOOD)
    before = accepted()
    stafd.start()
    host.wait_dc()
    wait_until(lambda: stafd.listed_subsystems() == PAIR, 10, "the page is read", poll=0.1)
    check(accepted() - before == 1, "the target accepts one connection", accepted() - before)
    stop()


def accepted():
    """Returns the connections that this host has accepted; it is also the target."""
    names, values = [line.split() for line in host.read("/proc/net/snmp").splitlines() if line.startswith("Tcp:")]
    return int(values[names.index("PassiveOpens")])


def in_order():
    """A portal that answers ICReq sees the end of the stream, and no reset."""
    ends = []
    with socket.create_server(("::1", ECHO), family=socket.AF_INET6) as listener:
        thread = threading.Thread(target=answer_one, args=(listener, ends), daemon=True)
        thread.start()
        # With two DCs, both are probed.
        daemons.configure(f"transport=tcp;traddr=::1;trsvcid={ECHO}", GOOD)
        stafd.start()
        thread.join(20)
    check(ends == ["end"], "the probe ends with an orderly close", ends)
    stop()


def answer_one(listener, ends):
    stream, _ = listener.accept()
    with stream:
        request = b""
        while len(request) < 128:
            request += stream.recv(128)
        stream.sendall(ICRESP)
        try:
            ends.append("more" if stream.recv(1) else "end")
        except ConnectionResetError:
            ends.append("reset")


def beside_a_web_server():
    without = statistics.median(how_long(GOOD) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory() as folder:
        web = subprocess.Popen([sys.executable, "-m", "http.server", "--bind", "::1", "--directory", folder, str(WEB)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(listens, 20, "the web server listens", poll=0.1)
            beside = statistics.median(how_long(f"transport=tcp;traddr=::1;trsvcid={WEB}", GOOD, reason="not NVMe/TCP")
                                       for _ in range(ROUNDS))
        finally:
            web.kill()
            web.wait()
    measure("two good subsystems beside a web server, compared with alone", beside / without, "times", at_most=1.2)


def listens():
    with socket.socket(socket.AF_INET6) as trial:
        return trial.connect_ex(("::1", WEB)) == 0


def how_long(*dcs, reason=None):
    daemons.configure(*dcs)
    before = daemons.start()
    host.wait_live(*PAIR)
    took = time.monotonic() - before
    if reason:
        wait_until(lambda: any(reason in each.get("reason", "") for each in stafd.controllers()), 20,
                   lambda: f"`stafctl ls` says {reason}\n{stafd.controllers()}", poll=0.2)
    note(f"{len(dcs)} discovery controllers: {took:.2f} s")
    stop()
    return took


def stop():
    daemons.stop()
    daemons.forget()
    host.disconnect_all()
