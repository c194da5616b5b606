"""A discovery controller over NVMe/TCP with any bytes in its log page, to reproduce errors of real firmware.

It is a thread of the scenario. It answers what the kernel's host and stafd ask of a direct discovery controller, and no more.
"""

import contextlib
import socket
import struct
import threading

DISCOVERY_NQN = "nqn.2014-08.org.nvmexpress.discovery"
TCP, NVME, REFERRAL, IPV4 = 3, 2, 1, 1
LOG_CHANGED = 0x70F002  # page 70h, discovery log page change, notice
INVALID_OPCODE, INVALID_FIELD, INVALID_LOG_PAGE = 0x001, 0x002, 0x109
DO_NOT_RETRY = 0x4000
# Controller properties: CAP (128 queue entries, contiguous, 10 s, NVM commands), VS 2.0.
CAP, VS = 127 | 1 << 16 | 20 << 24 | 1 << 37, 0x20000


def entry(nqn, traddr="127.0.0.1", trsvcid="4420", trtype=TCP, adrfam=IPV4, subtype=NVME):
    """Returns an entry of 1024 bytes. Texts are strings or bytes, and are not checked."""
    def padded(text, length):
        raw = text.encode() if isinstance(text, str) else text
        return raw[:length].ljust(length, b"\0")
    head = struct.pack("<BBBBHHHH", trtype, adrfam, subtype, 0, 1, 0xFFFF, 32, 0).ljust(32, b"\0")
    return head + padded(trsvcid, 32) + bytes(192) + padded(nqn, 256) + padded(traddr, 256) + bytes(256)


class RawDc:
    """A discovery controller that listens at once. `page` replaces its log page and sends an event on every connection."""

    def __init__(self, traddr="127.0.0.1", trsvcid=8009, family=socket.AF_INET):
        self._lock = threading.Lock()
        self._connections = set()
        self._generation = 0
        self._page = b""
        self.page()
        self._listener = socket.create_server((traddr, trsvcid), family=family)
        threading.Thread(target=self._accept, daemon=True).start()

    def page(self, *entries):
        """Replaces the log page by these entries."""
        with self._lock:
            self._generation += 1
            header = struct.pack("<QQH", self._generation, len(entries), 0).ljust(1024, b"\0")
            self._page = header + b"".join(entries)
            connections = list(self._connections)
        for each in connections:
            each.changed()

    def read(self, offset, length):
        with self._lock:
            return self._page[offset:offset + length].ljust(length, b"\0")

    def close(self):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection = _Connection(self, self._listener.accept()[0])
                with self._lock:
                    self._connections.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with contextlib.suppress(OSError, EOFError):
            connection.serve()
        with self._lock:
            self._connections.discard(connection)
        connection.socket.close()


class _Connection:
    """The admin queue of one host."""

    def __init__(self, dc, accepted):
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.dc, self.socket = dc, accepted
        self._sending = threading.Lock()
        self._head = 0
        self._configuration = 0
        self._event_requests = []
        self._owes_event = False

    def serve(self):
        while True:
            kind, _, _, _, length = struct.unpack("<BBBBI", self._receive(8))
            body = self._receive(length - 8)
            if kind == 0:  # ICReq; the answer: no digests, 128 KiB a transfer
                icresp = struct.pack("<HBBI", 0, 0, 0, 131072).ljust(120, b"\0")
                self._send(struct.pack("<BBBBI", 1, 0, 128, 0, 128) + icresp)
            elif kind == 4:  # a command capsule
                self._command(body[:64])
            else:
                return

    def changed(self):
        """Reports a change of the log page: as the specification requires, one event until the page is read."""
        with contextlib.suppress(OSError, IndexError):
            self._owes_event = True
            command = self._event_requests.pop(0)
            self._owes_event = False
            self._complete(command, LOG_CHANGED)

    def _command(self, command):
        opcode, identifier = command[0], struct.unpack_from("<H", command, 2)[0]
        words = struct.unpack_from("<6I", command, 40)
        if opcode == 0x7F:
            self._fabrics(command, identifier, words)
        elif opcode == 0x06 and words[0] & 0xFF == 1:
            self._answer(identifier, self._identify())
        elif opcode == 0x02 and words[0] & 0xFF == 0x70:
            count = ((words[1] & 0xFFFF) << 16 | words[0] >> 16) + 1
            self._answer(identifier, self.dc.read(words[2] | words[3] << 32, count * 4))
        elif opcode == 0x0C:
            self._event_requests.append(identifier)
            if self._owes_event:
                self.changed()
        elif opcode in (0x09, 0x0A, 0x18):  # set features, get features, keep alive
            self._complete(identifier)
        else:
            status = {0x02: INVALID_LOG_PAGE, 0x06: INVALID_FIELD}.get(opcode, INVALID_OPCODE)
            self._complete(identifier, status=status | DO_NOT_RETRY)

    def _fabrics(self, command, identifier, words):
        kind, offset = command[4], words[1]
        if kind == 1:  # connect
            self._complete(identifier, 7)
        elif kind == 4:  # property get
            ready, shutdown = self._configuration & 1, 8 if self._configuration >> 14 & 3 else 0
            values = {0x00: CAP, 0x08: VS, 0x14: self._configuration, 0x1C: ready | shutdown}
            self._complete(identifier, values.get(offset, 0))
        elif kind == 0:  # property set
            if offset == 0x14:
                self._configuration = struct.unpack_from("<Q", command, 48)[0] & 0xFFFFFFFF
            self._complete(identifier)
        else:
            self._complete(identifier, status=INVALID_FIELD | DO_NOT_RETRY)

    @staticmethod
    def _identify():
        data = bytearray(4096)
        data[4:24], data[24:64], data[64:72] = b"RAW".ljust(20), b"RawDc".ljust(40), b"1".ljust(8)
        struct.pack_into("<HI", data, 78, 7, VS)  # controller ID, version
        struct.pack_into("<I", data, 92, 1 << 31)  # it sends events for changes of the discovery log page
        data[111] = 2  # a discovery controller
        data[259], data[261] = 3, 4  # event requests at a time; log pages are read in parts
        struct.pack_into("<H", data, 320, 10)  # keep alive, in 100 ms
        data[512], data[513] = 0x66, 0x44  # sizes of queue entries
        struct.pack_into("<H", data, 514, 32)  # commands at a time
        struct.pack_into("<I", data, 536, 1 | 1 << 2 | 1 << 20)  # data over the fabric
        data[768:1024] = DISCOVERY_NQN.encode().ljust(256, b"\0")
        struct.pack_into("<II", data, 1792, 4, 1)
        data[1803] = 1
        data[1806] = 1  # direct discovery controller
        return bytes(data)

    def _answer(self, identifier, data):
        header = struct.pack("<BBBBI", 7, 4, 24, 24, 24 + len(data)) + struct.pack("<HHIII", identifier, 0, 0, len(data), 0)
        self._send(header + data)
        self._complete(identifier)

    def _complete(self, identifier, result=0, status=0):
        self._head = (self._head + 1) % 32
        completion = struct.pack("<QHHHH", result, self._head, 0, identifier, status << 1)
        self._send(struct.pack("<BBBBI", 5, 0, 24, 0, 24) + completion)

    def _send(self, data):
        with self._sending:
            self.socket.sendall(data)

    def _receive(self, length):
        received = b""
        while len(received) < length:
            piece = self.socket.recv(length - len(received))
            if not piece:
                raise EOFError
            received += piece
        return received
