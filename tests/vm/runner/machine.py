"""One virtual machine: its qemu, its shares, its agent."""

import ctypes
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import accel
from .agent import Agent, Gone

VM = pathlib.Path(__file__).resolve().parent.parent
TOP = VM.parent.parent
STATE = TOP / ".build" / "vm"
UP = STATE / "up.json"
# What the guest sees as /results.
EXCHANGE = STATE / "exchange"
# Seconds that a machine may take to boot: 25 under emulation on two idle cores, and a busy host.
BOOT_LIMIT = 180
# Seconds until qemu itself is there.
START_LIMIT = 60


def install_tree():
    """The tree that `make install DESTDIR=` made (VM_INSTALL_TREE, default .build/vm/tree)."""
    tree = pathlib.Path(os.environ.get("VM_INSTALL_TREE") or STATE / "tree").resolve()
    tree.mkdir(parents=True, exist_ok=True)
    return tree


def image():
    """The folder of the image, which is built when it is not there yet."""
    done = subprocess.run([VM / "build-image"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Role:
    """What tells a machine from the ordinary one."""

    # MiB; of these the host gives what is used.
    memory: int = 3072
    # A machine alone ends when it is reset, and its kernel resets it after a panic.
    survives_reset: bool = False
    # Disks beside its own, each a file in its folder: /dev/vdb, /dev/vdc, … They live as long as qemu.
    disks: tuple = ()
    disk_size: int = 0
    # Further arguments of qemu, and the descriptors that they name.
    arguments: tuple = ()
    descriptors: tuple = ()
    # For the kernel's command line.
    words: tuple = ()


ALONE = Role()


class Machine:
    """A machine that this process started, or one that `--up` left running."""

    def __init__(self, pid, folder, process=None):
        self.pid = pid
        self.folder = pathlib.Path(folder)
        self.process = process
        self.agent = None
        # The ACPI tables that it has beside those of every machine.
        self.tables = ()
        # The machine that it gets its storage from (pair.py), and that lives and dies with it.
        self.target = None

    @classmethod
    def boot(cls, serial=None, idle=None, keep_locks=False, tables=(), role=ALONE, processors=None):
        """Starts qemu; `ready` waits for it. `serial`: qemu's argument for the serial console (default: a file).

        `keep_locks`: it outlives this process, and this process's descriptors stay open in it, so that a lock that
        the caller holds lasts as long. `tables`: ACPI tables that its firmware shall have, (name, bytes) each.
        `role`: what it is beside another machine. `processors`: so many; under emulation one costs a third less than two,
        which wait for each other.
        """
        base = image()
        EXCHANGE.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="stas-vm-"))
        words = ["console=ttyS0", "quiet", "loglevel=4", "mitigations=off", "net.ifnames=0", "nokaslr",
                 "systemd.show_status=0", *role.words]
        if not role.survives_reset:
            words.append("panic=-1")
        if serial is None:
            words.append("systemd.mask=serial-getty@ttyS0.service")
        if idle:
            words.append(f"harness.idle={idle}")
        arguments = accel.arguments(base)
        usual = max(2, min(os.cpu_count() or 1, 4)) if arguments == accel.KVM else 2
        command = ["qemu-system-x86_64", "-machine", "q35,sata=off,smbus=off", *arguments, "-smp", str(processors or usual), "-m", str(role.memory),
                   "-nographic", "-nodefaults", "-monitor", "none",
                   "-serial", serial or f"file:{folder}/console.log",
                   "-kernel", f"{base}/vmlinuz", "-initrd", f"{base}/initrd", "-append", " ".join(words),
                   "-drive", f"file={base}/root.img,if=virtio,format=raw,snapshot=on",
                   "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                   "-chardev", f"socket,id=agent,path={folder}/agent,server=on,wait=off",
                   "-device", "virtserialport,chardev=agent,name=harness", *role.arguments]
        if not role.survives_reset:
            command.append("-no-reboot")
        for name in role.disks:
            with open(folder / name, "wb") as file:
                file.truncate(role.disk_size)
            command += ["-drive", f"file={folder / name},if=virtio,format=raw"]
        # Of the tree its parent is shared: `make tree` replaces the tree itself.
        for tag, path, mode in (("harness", VM, ",readonly=on"), ("trees", install_tree().parent, ",readonly=on"), ("results", EXCHANGE, "")):
            command += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none{mode}"]
        for name, content in tables:
            (folder / name).write_bytes(content)
            command += ["-acpitable", f"file={folder / name}"]
        stdin = None if serial else subprocess.DEVNULL
        stdout = None if serial else open(folder / "qemu.log", "wb")
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stdout and subprocess.STDOUT,
                                   close_fds=not keep_locks, pass_fds=role.descriptors, start_new_session=serial is None,
                                   preexec_fn=None if keep_locks else end_with_parent)
        machine = cls(process.pid, folder, process)
        machine.tables = tuple(name for name, _ in tables)
        return machine

    def fit(self):
        """It runs, and its target machine too."""
        return self.alive() and (not self.target or self.target.alive())

    def alive(self):
        if self.process is not None:
            return self.process.poll() is None
        try:
            os.kill(self.pid, 0)
        except OSError:
            return False
        return True

    def fate(self):
        """How qemu ended, in words."""
        if self.process is None:
            return "qemu runs" if self.alive() else "qemu ended"
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return "qemu runs"
        return f"qemu ended with status {status}" if status >= 0 else f"qemu was killed by {signal.Signals(-status).name}"

    def starts(self):
        """Waits until qemu runs; connects the agent's line. The machine may still boot."""
        deadline = time.monotonic() + START_LIMIT
        why = None
        while not self.agent:
            if not self.alive() or time.monotonic() > deadline:
                raise Gone(f"qemu did not start ({why}): {self.console().strip()}")
            try:
                self.agent = Agent(str(self.folder / "agent"))
            except Gone as error:
                why = error  # the socket is not there yet, or there and not served yet
                time.sleep(0.02)

    def ready(self):
        """Waits until the machine has booted to the end; connects the agent."""
        if not self.agent:
            self.starts()
        self.agent.wait_ready(BOOT_LIMIT, self.alive)
        self.agent.run("systemctl is-system-running --wait >/dev/null", lambda _: None, limit=BOOT_LIMIT)

    def install(self):
        """Lays the install tree over the machine; returns its complaint, or an empty text."""
        said = []
        status, why = self.agent.run(["/harness/guest/install-tree", install_tree().name], said.append, limit=300)
        return "".join(said).strip() or f"status {status}, {why}" if status else ""

    def serve(self):
        """Waits until it has booted and has the install tree, or raises Gone."""
        self.ready()
        if complaint := self.install():
            raise Gone(f"the install tree does not install:\n{complaint}")

    def console(self):
        """What the machine (or qemu) said last."""
        text = ""
        for name in ("qemu.log", "console.log"):
            try:
                text += (self.folder / name).read_text(errors="replace")
            except OSError:
                pass
        return text[-20000:]

    def stop(self):
        """The end, without ceremony: the disk is a snapshot that nobody keeps."""
        if self.target:
            self.target.stop()
        if self.agent:
            self.agent.close()
        if self.alive():
            try:
                os.kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process:
            self.process.wait()
        while self.alive():
            time.sleep(0.02)  # not our child: nobody tells us
        shutil.rmtree(self.folder, ignore_errors=True)

    # A machine that stays up between commands.

    def remember(self):
        STATE.mkdir(parents=True, exist_ok=True)
        UP.write_text(json.dumps({"pid": self.pid, "folder": str(self.folder)}))

    @classmethod
    def running(cls):
        """The machine that `--up` started, if it still runs."""
        try:
            kept = json.loads(UP.read_text())
            machine = cls(kept["pid"], kept["folder"])
            command = pathlib.Path(f"/proc/{machine.pid}/cmdline").read_bytes().decode(errors="replace")
        except (OSError, ValueError, KeyError):
            return None
        if str(machine.folder) in command:
            return machine
        UP.unlink(missing_ok=True)
        return None

    def connect(self):
        self.agent = Agent(str(self.folder / "agent"))
        self.agent.wait_ready(60, self.alive)
        return self


def end_with_parent():
    """In the new process: whatever kills the harness ends its machine too (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def complain(message, machine=None):
    print(message, file=sys.stderr)
    if machine and (console := machine.console().strip()):
        print("the last it said:\n" + "\n".join(console.splitlines()[-30:]), file=sys.stderr)
