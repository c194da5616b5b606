"""DCs are found without Avahi, and as fast beside Avahi and systemd-resolved, whether these start before or after stafd or stop. Avahi and systemd-resolved keep receiving mDNS, too."""

import os

from scene import announcer, check, compare, daemons, host, journal, network, reference, wait_until
from scene.announcer import Service
from scene.daemons import stafd

LIMIT = 240
# Seconds between two rounds of the browser.
PACE = 0.5
WIDE_BOUNDS = True  # the measured times are a fraction of the limits
DROP_IN = "/run/systemd/resolved.conf.d/harness.conf"


def play():
    avahi_ran = active("avahi-daemon.service")
    neighbour = network.Neighbour("target")
    lan = neighbour.cable("lan", "192.0.2.1/24", "192.0.2.2/24")
    try:
        with announcer.Announcer(neighbour, lan) as air:
            round_ = Rounds(air, lan)
            stop_all()
            daemons.start(stafd)
            round_.look = reference.median("one look at stafd's list", lambda: found("192.0.2.99"))
            round_("alone")
            start("avahi-daemon")
            round_("Avahi started after stafd")
            check_avahi(round_.last)
            host.run("systemctl", "restart", "avahi-daemon.service")
            round_("Avahi restarted")
            stafd.restart()
            round_("stafd started after Avahi")
            check_avahi(round_.last)
            stop_all()
            round_("Avahi stopped")
            start_resolved(lan)
            round_("systemd-resolved started after stafd")
            check_resolved(round_.last)
            stafd.restart()
            round_("stafd started after systemd-resolved")
            check_resolved(round_.last)
            host.run("systemctl", "restart", "systemd-resolved.service")
            host.run("resolvectl", "mdns", lan, "yes")
            round_("systemd-resolved restarted")
            start("avahi-daemon")
            round_("both, and Avahi started last")
            check_avahi(round_.last)
            stop_all()
            round_("both stopped")
            said = journal.messages("stafd", "stas-net@*")
            lines = [line for line in said if "5353" in line or "cannot browse" in line]
            check(not lines, "neither stafd nor stas-net complains about the port", lines)
    finally:
        stop_all()
        if os.path.exists(DROP_IN):
            os.unlink(DROP_IN)
        if avahi_ran:
            start("avahi-daemon")


class Rounds:
    """Announces a new service, waits until it is found, sends a goodbye, and waits until it is removed."""

    def __init__(self, air, lan):
        self.air, self.lan, self.number, self.last = air, lan, 0, None
        # Seconds that one check takes.
        self.look = None

    def __call__(self, situation):
        self.number += 1
        traddr = f"192.0.2.{100 + self.number}"
        service = Service(f"dc{self.number}", {self.lan: [traddr]})
        self.air.announce(service)
        took = wait_until(lambda: found(traddr), 10, lambda: f"{situation}: {traddr} is found\n    seen: {stafd.controllers(False)}")[1]
        compare(f"found, {situation}", took, self.look, "one look", at_most=16, delays=PACE)
        self.air.goodbye(service)
        wait_until(lambda: not found(traddr), 15, lambda: f"{situation}: the goodbye of {traddr} is heard", poll=0.05)
        # A service that exists already is found by a query.
        old = Service(f"old{self.number}", {self.lan: [f"192.0.2.{150 + self.number}"]})
        self.air.expect(old)
        # A DC, which does not exist, shows that the first file was read: otherwise the two reloads may be one.
        mark = f"127.0.0.{100 + self.number}"
        stafd.configure(f"[Service Discovery]\nzeroconf=disabled\n[Controllers]\ncontroller=transport=tcp;traddr={mark};trsvcid=8009\n")
        stafd.reload()
        wait_until(lambda: found(mark), 10, f"{situation}: mDNS is disabled", poll=0.05)
        stafd.configure("")
        stafd.reload()
        wait_until(lambda: found(f"192.0.2.{150 + self.number}"), 10, f"{situation}: who answers a query is found", poll=0.05)
        self.last = old


def found(traddr):
    return any(each["traddr"] == traddr for each in stafd.controllers(False))


def active(unit):
    return host.run("systemctl", "is-active", unit, check=False).stdout.strip() == "active"


def start(name):
    host.run("systemctl", "start", f"{name}.service")


def start_resolved(lan):
    os.makedirs(os.path.dirname(DROP_IN), exist_ok=True)
    with open(DROP_IN, "w") as file:
        file.write("[Resolve]\nMulticastDNS=yes\nLLMNR=no\n")
    start("systemd-resolved")
    host.run("resolvectl", "mdns", lan, "yes")


def stop_all():
    host.run("systemctl", "stop", "avahi-daemon.socket", "avahi-daemon.service", "systemd-resolved.service",
             "systemd-resolved-varlink.socket", "systemd-resolved-monitor.socket", check=False)


def check_avahi(service):
    """Checks that Avahi finds the service, too."""
    def seen():
        return host.run("avahi-browse", "--parsable", "--resolve", "--terminate", service.kind.removesuffix(".local"), check=False).stdout
    wait_until(lambda: service.name in seen(), 10, lambda: f"Avahi finds {service.name} beside stafd\n    seen: {seen()}", poll=0.5)


def check_resolved(service):
    """Checks that systemd-resolved resolves its host name, too."""
    name = ".".join(service.hostname)

    def answer():
        return host.run("resolvectl", "--protocol=mdns", "query", name, check=False).stdout
    wait_until(lambda: "192.0.2." in answer(), 15, lambda: f"systemd-resolved resolves {name} beside stafd\n    seen: {answer()}", poll=0.5)
