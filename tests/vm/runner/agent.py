"""Talks to the agent in the guest (guest/agent.py says what goes over the line)."""

import itertools
import json
import select
import socket
import time


class Gone(Exception):
    """The machine does not answer any more."""


class Agent:
    """A connection to the agent. One command at a time; `silence` seconds without a sign of life is death."""

    def __init__(self, path, silence=60.0):
        self.silence = silence
        self.path = path
        self.inbox = b""
        self.numbers = itertools.count(time.monotonic_ns())
        self.socket = socket.socket(socket.AF_UNIX)
        try:
            self.socket.connect(path)
        except OSError as error:
            raise Gone(f"cannot reach the machine at {path}: {error.strerror}") from error
        self.send(b"\n")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone(f"the machine is gone: {error.strerror}") from error

    def close(self):
        self.socket.close()

    def tell(self, **message):
        self.send(json.dumps(message).encode() + b"\n")

    def hear(self, timeout):
        """The next message, or None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.inbox:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return None
            try:
                data = self.socket.recv(65536)
            except OSError as error:
                raise Gone(f"the machine is gone: {error.strerror}") from error
            if not data:
                raise Gone("the machine is gone: qemu closed the line")
            self.inbox += data
        line, _, self.inbox = self.inbox.partition(b"\n")
        try:
            return json.loads(line)
        except ValueError:
            return {}  # the rest of a line that was meant for somebody before us

    def wait_ready(self, timeout, alive=lambda: True):
        """Waits for the agent to come up. `alive` says whether waiting still makes sense."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and alive():
            number = next(self.numbers)
            self.tell(ping=number)
            message = self.hear(0.5)
            while message is not None:
                if "pong" in message:
                    return
                message = self.hear(0.5)
        raise Gone(f"the machine did not come up within {timeout:.0f} s" if alive() else "qemu ended while the machine came up")

    def run(self, command, out, limit=None, env=None):
        """Runs a command (a shell line or an argument list), hands its output to `out` as it comes.

        Returns (status, why): why is "limit" when it had to be stopped. Raises Gone when the machine wedges:
        no sign of life, or a command that outlives its limit by more than `silence`.
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
            else:
                heard = now
                if message.get("id") == number:
                    if "out" in message:
                        out(message["out"])
                    elif "exit" in message:
                        return message["exit"], message["why"]
            if limit and now - start > limit + self.silence:
                raise Gone(f"still there {self.silence:.0f} s after its limit of {limit:.0f} s: it cannot be killed")

    def kill_all(self):
        """Ends what runs: the agent kills everything when its line closes."""
        self.close()
