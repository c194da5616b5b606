"""Runs commands in the guest for the host.

One virtio-serial port carries lines of JSON both ways.

From the host: {"id", "run": shell command or argument list, "env", "limit": seconds}, {"id", "kill": true}, {"ping": n}.
To the host: {"id", "out": text} as it comes, {"id", "exit": status, "why": null | "limit" | "killed"} once, {"pong": n},
{"leaving": true} when the machine shuts down.
The exit status is that of a shell: 128 + N for signal N. When the host closes the port, its commands are killed.
"""

import codecs
import json
import os
import select
import signal
import subprocess
import time

PORT = "/dev/virtio-ports/harness"
# Seconds between SIGTERM and SIGKILL.
GRACE = 5.0


class Job:
    """A running command, in its own process group."""

    def __init__(self, request):
        run = request["run"]
        argv = ["/bin/bash", "-c", run] if isinstance(run, str) else run
        environment = dict(os.environ, HOME="/root", LANG="C.UTF-8", PYTHONPATH="/harness/guest", PYTHONUNBUFFERED="1",
                           PYTHONDONTWRITEBYTECODE="1", TERM="dumb", SYSTEMD_PAGER="cat", SYSTEMD_COLORS="0")
        environment.update(request.get("env") or {})
        self.id = request["id"]
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True, cwd="/root", env=environment)
        self.pipe = self.process.stdout.fileno()
        os.set_blocking(self.pipe, False)
        limit = request.get("limit")
        self.deadline = time.monotonic() + limit if limit else None
        self.why = None
        self.open = True

    def stop(self, why):
        """Sends SIGTERM. The second call, after GRACE, sends SIGKILL."""
        self.signal(signal.SIGTERM if self.why is None else signal.SIGKILL)
        self.why = self.why or why
        self.deadline = time.monotonic() + GRACE

    def signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass

    def read(self):
        """Returns the available text, and detects the end of the pipe."""
        try:
            data = os.read(self.pipe, 65536)
        except BlockingIOError:
            return ""
        self.open = bool(data)
        return self.decoder.decode(data, final=not data)

    def drain(self):
        """Returns the rest of the output. Does not wait for the end of the pipe: other child processes may keep it open."""
        text = ""
        while self.open:
            more = self.read()
            if not more:
                break
            text += more
        self.process.stdout.close()
        return text


class Agent:
    def __init__(self):
        self.port = self.open_port()
        self.inbox = b""
        self.outbox = bytearray()
        self.jobs = {}
        self.connected = False
        self.last_used = time.monotonic()
        self.idle_limit = idle_limit()
        self.leaving = False
        # SIGCHLD writes to this pipe, so that the end of a child process wakes the poll below.
        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self.leave)

    def leave(self, *_):
        """Handles SIGTERM: systemd stops the agent when the machine shuts down."""
        self.leaving = True

    @staticmethod
    def open_port():
        while not os.path.exists(PORT):
            time.sleep(0.02)  # udev creates the name; there is no event for it here
        return os.open(PORT, os.O_RDWR | os.O_NONBLOCK)

    def tell(self, **message):
        self.outbox += json.dumps(message).encode() + b"\n"

    def serve(self):
        while not self.leaving:
            self.wait()
            self.read_port()
            for job in list(self.jobs.values()):
                self.look_after(job)
            self.write_port()
            if self.jobs or self.connected:
                self.last_used = time.monotonic()
            elif self.idle_limit and time.monotonic() - self.last_used > self.idle_limit:
                end_machine()
        self.tell(leaving=True)
        self.write_port()

    def wait(self):
        poll = select.poll()
        poll.register(self.wake, select.POLLIN)
        if self.connected:
            poll.register(self.port, select.POLLIN | (select.POLLOUT if self.outbox else 0))
        for job in self.jobs.values():
            if job.open:
                poll.register(job.pipe, select.POLLIN)
        # While the host is not connected, poll() always reports a hang-up: then the port is read every 100 ms.
        timeout = 1.0 if self.connected else 0.1
        for job in self.jobs.values():
            if job.deadline:
                timeout = min(timeout, max(0.0, job.deadline - time.monotonic()))
        poll.poll(timeout * 1000)
        try:
            os.read(self.wake, 4096)
        except BlockingIOError:
            pass

    def read_port(self):
        while True:
            try:
                data = os.read(self.port, 65536)
            except BlockingIOError:
                self.connected = True
                break
            if not data:
                self.hang_up()
                break
            self.connected = True
            self.inbox += data
        *lines, self.inbox = self.inbox.split(b"\n")
        for line in lines:
            if line.strip():
                self.obey(line)

    def hang_up(self):
        if self.connected:
            for job in self.jobs.values():
                job.stop("killed")
        self.connected = False
        self.inbox = b""
        self.outbox.clear()

    def obey(self, line):
        try:
            request = json.loads(line)
        except ValueError:
            return  # an incomplete line: the host's process was killed
        if "ping" in request:
            self.tell(pong=request["ping"])
        elif request.get("kill"):
            if request["id"] in self.jobs:
                self.jobs[request["id"]].stop("killed")
        elif "run" in request:
            try:
                self.jobs[request["id"]] = Job(request)
            except OSError as error:
                self.tell(id=request["id"], out=f"{error}\n")
                self.tell(id=request["id"], exit=127, why=None)

    def look_after(self, job):
        if job.open and (text := job.read()):
            self.tell(id=job.id, out=text)
        if job.process.poll() is not None:
            if text := job.drain():
                self.tell(id=job.id, out=text)
            status = job.process.returncode
            self.tell(id=job.id, exit=status if status >= 0 else 128 - status, why=job.why)
            job.signal(signal.SIGKILL)  # processes that are left in its group
            del self.jobs[job.id]
        elif job.deadline and time.monotonic() >= job.deadline:
            job.stop("limit")

    def write_port(self):
        while self.connected and self.outbox:
            try:
                del self.outbox[:os.write(self.port, self.outbox[:32768])]
            except BlockingIOError:
                return


def idle_limit():
    """Reads `harness.idle=SECONDS` from the kernel's command line: the machine ends after this time without use."""
    with open("/proc/cmdline") as file:
        for word in file.read().split():
            if word.startswith("harness.idle="):
                return float(word.partition("=")[2])
    return None


def end_machine():
    """Resets the machine, which ends it. A power-off would wait for storage, and the disk is temporary."""
    with open("/proc/sysrq-trigger", "w") as file:
        file.write("b")


def begin():
    """Resets `oops=panic`, which is only for the boot."""
    with open("/proc/sys/kernel/panic_on_oops", "w") as file:
        file.write("0")


if __name__ == "__main__":
    begin()
    Agent().serve()
