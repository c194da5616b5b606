"""Reads the kernel's uevents (netlink group 1). The buffer is large; lost events are an error."""

import errno
import select
import socket

NETLINK_KOBJECT_UEVENT = 15
SO_RCVBUFFORCE = 33


class Uevents:
    """The events of the nvme class since this object was created, oldest first, as dictionaries of their properties."""

    def __init__(self, subsystem="nvme"):
        self.subsystem = subsystem
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 128 << 20)
        self.socket.bind((0, 1))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def wait(self, timeout):
        """Waits until there may be an event, at most `timeout` seconds."""
        select.select([self.socket], [], [], max(0.0, timeout))

    def read(self):
        """Returns the events since the last call."""
        events = []
        while True:
            try:
                data = self.socket.recv(65536)
            except BlockingIOError:
                return events
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    raise RuntimeError("the recorder of uevents lost some: its proof is void") from error
                raise
            words = data.decode(errors="replace").split("\0")
            event = dict(word.split("=", 1) for word in words if "=" in word)
            if event.get("SUBSYSTEM") == self.subsystem:
                event["device"] = event.get("DEVPATH", "").rpartition("/")[2]
                events.append(event)
