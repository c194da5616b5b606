"""An mDNS responder that sends what a scenario tells it: discovery controllers, goodbyes, fake services, invalid packets (RFC 6762).

    announcer = Announcer(neighbour, "sc-lan")
    announcer.announce(Service("dc1", addresses={"sc-lan": ["192.0.2.2"]}))

It lives in a neighbour's network, answers queries from a thread of this process, and counts them.
"""

import contextlib
import dataclasses
import ipaddress
import random
import select
import socket
import struct
import threading

PORT = 5353
GROUP4, GROUP6 = "224.0.0.251", "ff02::fb"
A, PTR, TXT, AAAA, SRV, ANY = 1, 12, 16, 28, 33, 255
FLUSH = 0x8000
TCP, UDP = "_nvme-disc._tcp.local", "_nvme-disc._udp.local"
# Short enough for one Ethernet packet.
ROOM = 1400


@dataclasses.dataclass
class Service:
    """An announced service. `addresses`: the addresses for each interface."""

    name: str
    addresses: dict
    port: int = 8009
    txt: tuple = ("p=tcp",)
    kind: str = TCP
    host: str = ""
    ttl: int = 120

    @property
    def full(self):
        return (self.name, *self.kind.split("."))

    @property
    def hostname(self):
        return ((self.host or self.name.replace(" ", "-")), "local")

    def records(self, iface, ttl=None):
        """Returns PTR, SRV, TXT, A and AAAA records for this interface; none if the service is not announced there."""
        addresses = self.addresses.get(iface, [])
        if not addresses:
            return []
        ttl = self.ttl if ttl is None else ttl
        text = b"".join(bytes([len(each)]) + each.encode() for each in self.txt) or b"\0"
        records = [
            record(tuple(self.kind.split(".")), PTR, 1, ttl, labels(self.full)),
            record(self.full, SRV, 1 | FLUSH, ttl, struct.pack("!HHH", 0, 0, self.port) + labels(self.hostname)),
            record(self.full, TXT, 1 | FLUSH, ttl, text),
        ]
        for address in map(ipaddress.ip_address, addresses):
            records.append(record(self.hostname, A if address.version == 4 else AAAA, 1 | FLUSH, ttl, address.packed))
        return records


def labels(name):
    return b"".join(bytes([len(each.encode())]) + each.encode() for each in name) + b"\0"


def record(name, kind, klass, ttl, data):
    return labels(name) + struct.pack("!HHIH", kind, klass, ttl, len(data)) + data


def response(records):
    return struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


class Announcer:
    """A responder on these interfaces of a neighbour, or of this host if `neighbour` is None."""

    def __init__(self, neighbour, *ifaces):
        self.services = {}
        self.queries = 0
        self.deaf = False
        self._chance = random.Random(6762)
        self._links = []
        self._lock = threading.Lock()
        self._end = threading.Event()
        with neighbour.inside() if neighbour else contextlib.nullcontext():
            for iface in ifaces:
                self._links += [(iface, each) for each in _sockets(iface)]
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Stops without a goodbye."""
        self._end.set()
        self._thread.join()
        for _, each in self._links:
            each.close()

    def announce(self, *services):
        """Announces these services, and answers queries for them."""
        with self._lock:
            self.services.update({each.name: each for each in services})
        self._say(services)

    def expect(self, *services):
        """Answers queries for these services, without announcing them."""
        with self._lock:
            self.services.update({each.name: each for each in services})

    def pretend(self, *services):
        """Announces these services once, and never answers queries for them."""
        self._say(services)

    def goodbye(self, *services):
        """Sends goodbyes for these services (RFC 6762, 10.1)."""
        self.forget(*services)
        self._say(services, ttl=0)

    def forget(self, *services):
        """Stops answering for these services without a goodbye, as after a power failure."""
        with self._lock:
            for each in services:
                self.services.pop(each.name, None)

    def send(self, packet, iface=None):
        """Sends any bytes."""
        for name, link in self._links:
            if iface in (None, name):
                with contextlib.suppress(OSError):  # the interface may be down
                    link.sendto(packet, (GROUP4 if link.family == socket.AF_INET else GROUP6, PORT))

    def _say(self, services, ttl=None, link=None):
        for name, each in self._links:
            if link is not None and each is not link:
                continue
            packet = []
            for records in [service.records(name, ttl) for service in services] + [None]:
                if packet and (records is None or sum(map(len, packet)) + sum(map(len, records)) > ROOM):
                    with contextlib.suppress(OSError):  # the interface may be down
                        each.sendto(response(packet), (GROUP4 if each.family == socket.AF_INET else GROUP6, PORT))
                    packet = []
                packet += records or []

    def _answer(self):
        while not self._end.is_set():
            ready, _, _ = select.select([each for _, each in self._links], [], [], 0.1)
            for link in ready:
                with contextlib.suppress(OSError, IndexError, struct.error, UnicodeDecodeError):
                    self._query(link, link.recv(9000))

    def _query(self, link, packet):
        _, flags, questions, *_ = struct.unpack("!HHHHHH", packet[:12])
        if flags & 0x8000 or self.deaf:
            return
        asked, place = set(), 12
        for _ in range(questions):
            name, place = _name(packet, place)
            kind, _ = struct.unpack("!HH", packet[place:place + 4])
            asked.add((name.lower(), kind))
            place += 4
        with self._lock:
            services = list(self.services.values())
        meant = [each for each in services if self._is_meant(each, asked)]
        if any(name in (TCP, UDP) for name, _ in asked):
            self.queries += 1
        if meant:
            # Each service behaves as a machine of its own: answers to shared questions wait for 20 to 120 ms (RFC 6762, 6).
            self._chance.shuffle(meant)
            self._say(meant, link=link)

    @staticmethod
    def _is_meant(service, asked):
        full, host = ".".join(service.full).lower(), ".".join(service.hostname).lower()
        names = {(service.kind, PTR), (full, SRV), (full, TXT), (host, A), (host, AAAA)}
        return any((name, kind) in names or (kind == ANY and name in (full, host)) for name, kind in asked)


def _name(packet, place):
    """Reads a name, which may be compressed. Returns it and the offset of its end."""
    parts, end = [], None
    for _ in range(64):
        length = packet[place]
        if length >= 0xC0:
            end = end or place + 2
            place = struct.unpack("!H", packet[place:place + 2])[0] & 0x3FFF
        elif length == 0:
            return ".".join(parts), end or place + 1
        else:
            parts.append(packet[place + 1:place + 1 + length].decode())
            place += 1 + length
    raise IndexError("a name without an end")


def _sockets(iface):
    """Returns a socket for each address family, for this interface only."""
    index = socket.if_nametoindex(iface)
    for family, level in ((socket.AF_INET, socket.IPPROTO_IP), (socket.AF_INET6, socket.IPPROTO_IPV6)):
        each = socket.socket(family, socket.SOCK_DGRAM)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, iface.encode())
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        if family == socket.AF_INET:
            which = struct.pack("@4s4si", b"\0" * 4, b"\0" * 4, index)
            each.setsockopt(level, socket.IP_MULTICAST_IF, which)
            each.setsockopt(level, socket.IP_MULTICAST_TTL, 255)
            each.setsockopt(level, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(GROUP4) + which[4:])
            each.bind(("", PORT))
        else:
            each.setsockopt(level, socket.IPV6_V6ONLY, 1)
            each.setsockopt(level, socket.IPV6_MULTICAST_IF, index)
            each.setsockopt(level, socket.IPV6_MULTICAST_HOPS, 255)
            each.setsockopt(level, socket.IPV6_JOIN_GROUP, socket.inet_pton(family, GROUP6) + struct.pack("@i", index))
            each.bind(("", PORT))
        yield each
