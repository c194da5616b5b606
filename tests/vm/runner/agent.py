"""Communicates with the agent in the guest (guest/agent.py describes the protocol)."""

import itertools
import json
import os
import select
import socket
import stat
import time


class Gone(Exception):
    """The machine no longer answers. `console`: its last output, if the machine has ended."""

    def __init__(self, why, console=""):
        super().__init__(why)
        self.console = console


def connect(path):
    """Returns a descriptor of qemu's socket or, in a machine that controls another one, of a virtio-serial port."""
    try:
        if stat.S_ISCHR(os.stat(path).st_mode):
            return os.open(path, os.O_RDWR | os.O_NONBLOCK)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            return client.detach()
    except OSError as error:
        raise Gone(f"cannot reach the machine at {path}: {error.strerror}") from error


class Line:
    """A connection that carries one JSON message per line in both directions."""

    def __init__(self, path):
        self.descriptor = connect(path)
        self.inbox = b""

    def close(self):
        """Closes the connection. It may be called twice."""
        if self.descriptor is not None:
            os.close(self.descriptor)
        self.descriptor = None

    def send(self, data):
        while data:
            try:
                data = data[os.write(self.descriptor, data):]
            except BlockingIOError:
                self.wait_writable()
            except OSError as error:
                raise Gone(f"the machine is gone: {error.strerror}") from error

    def wait_writable(self):
        """Waits until the port accepts data. A full port accepts none; a port without a peer never does."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        seen = poll.poll(60_000)
        if not seen or seen[0][1] & select.POLLHUP:
            raise Gone("the machine is gone: " + ("qemu closed the line" if seen else "it takes nothing for 60 s"))

    def tell(self, **message):
        self.send(json.dumps(message).encode() + b"\n")

    def hear(self, timeout):
        """Returns the next message, or None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.inbox:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.descriptor], [], [], left)[0]:
                return None
            try:
                data = os.read(self.descriptor, 65536)
            except BlockingIOError:
                continue  # select() reported data, but there is none
            except OSError as error:
                raise Gone(f"the machine is gone: {error.strerror}") from error
            if not data:
                raise Gone("the machine is gone: qemu closed the line")
            self.inbox += data
        line, _, self.inbox = self.inbox.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            return {}  # the end of a line from an earlier connection


class Agent(Line):
    """A connection to the agent, for one command at a time. After `silence` seconds without a message the machine is gone."""

    def __init__(self, path, silence=60.0):
        super().__init__(path)
        self.silence = silence
        self.numbers = itertools.count(time.monotonic_ns())
        self.send(b"\n")

    def wait_ready(self, timeout, alive=lambda: True):
        """Waits until the agent answers, as long as `alive` returns true."""
        deadline = time.monotonic() + timeout
        first = None
        while time.monotonic() < deadline and alive():
            number = next(self.numbers)
            first = first or number
            self.tell(ping=number)
            message = self.hear(0.5)
            while message is not None:
                if message.get("pong", 0) >= first:
                    return
                message = self.hear(0.5)
        raise Gone(f"the machine did not come up within {timeout:.0f} s" if alive() else "qemu ended while the machine came up")

    def run(self, command, out, limit=None, env=None):
        """Runs a command (a shell line or an argument list) and passes its output to `out` as it arrives.

        Returns (status, why): why is "limit" if the command was stopped at its limit. Raises Gone if the machine does
        not answer, or if the command runs longer than its limit plus `silence`.
        """
        number = str(next(self.numbers))
        self.tell(id=number, run=command, limit=limit, env=env)
        heard = pinged = start = time.monotonic()
        while True:
            message = self.hear(5.0)
            now = time.monotonic()
            if message is None:
                if now - pinged >= 5.0:
                    pinged = now
                    self.tell(ping=0)
                if now - heard > self.silence:
                    raise Gone(f"no sign of life for {self.silence:.0f} s")
            elif message.get("leaving"):
                raise Gone("the machine powers off")
            else:
                heard = now
                if message.get("id") == number:
                    if "out" in message:
                        out(message["out"])
                    elif "exit" in message:
                        return message["exit"], message["why"]
            if limit and now - start > limit + self.silence:
                raise Gone(f"still there {self.silence:.0f} s after its limit of {limit:.0f} s: it cannot be killed")

    def wait_leaving(self):
        """Waits until the machine powers off or has ended."""
        try:
            while not (self.hear(3600.0) or {}).get("leaving"):
                pass
        except Gone:
            pass
