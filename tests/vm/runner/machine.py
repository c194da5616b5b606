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
# The folder that the guest sees as /results.
EXCHANGE = STATE / "exchange"
# Time limit of a boot in seconds. It takes 25 under emulation on two idle processors, and many times that on busy ones.
BOOT_LIMIT = 600
# Time limit for installing the tree in seconds. It takes 2 under emulation on two idle processors.
INSTALL_LIMIT = 300
# Time limit in seconds until qemu runs.
START_LIMIT = 60
# Seconds that a boot takes under emulation on two idle processors.
USUAL_BOOT = 25
# A machine started with --up ends after this many seconds without use.
IDLE = 300
# Time limit of a power-off in seconds.
OFF_LIMIT = 30
# Beginning of the last message of a kernel that panics.
PANIC = "Kernel panic - not syncing"
RUNS = "qemu runs"
# Message of qemu when Ctrl-A X ends it.
TERMINATED = "QEMU: Terminated"


class Died(Gone):
    """The machine ended, panicked or stopped answering during the boot."""


def install_tree():
    """Returns the tree of `make install DESTDIR=` (VM_INSTALL_TREE, default .build/vm/tree)."""
    tree = pathlib.Path(os.environ.get("VM_INSTALL_TREE") or STATE / "tree").resolve()
    tree.mkdir(parents=True, exist_ok=True)
    return tree


def image():
    """Returns the folder of the image. Builds the image if necessary."""
    done = subprocess.run([VM / "build-image"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


@dataclasses.dataclass(frozen=True)
class Role:
    """The differences between this machine and an ordinary one."""

    # Memory in MiB. The host allocates only what the guest uses.
    memory: int = 3072
    # True: a reset boots it again. False: a reset ends it. The kernel resets the machine after a panic.
    survives_reset: bool = False
    # Additional disks /dev/vdb, /dev/vdc, …: files in its folder, which exist as long as qemu runs.
    disks: tuple = ()
    disk_size: int = 0
    # More arguments for qemu, and the descriptors to which they refer.
    arguments: tuple = ()
    descriptors: tuple = ()
    # More words for the kernel's command line.
    words: tuple = ()


ALONE = Role()


class Machine:
    """A machine that this process started, or one that `--up` left running."""

    def __init__(self, pid, folder, process=None):
        self.pid = pid
        self.folder = pathlib.Path(folder)
        self.process = process
        self.agent = None
        # Names of its additional ACPI tables.
        self.tables = ()
        self.begun = time.monotonic()
        # Factor for timeouts: the duration of its boot, relative to a boot on an idle host.
        self.patience = 1.0
        # Its target machine (pair.py), which is stopped together with it.
        self.target = None

    @classmethod
    def start(cls, terminal=False, idle=None, keep_locks=False, tables=(), role=ALONE, processors=None):
        """Starts qemu; `serve` waits until the machine can be used.

        `terminal`: connect its serial console and qemu's monitor to this terminal. `idle`: end it after so many seconds
        without use. `keep_locks`: keep it running when this process ends; it inherits the descriptors of this process, so
        that locks of the caller are held as long. `tables`: additional ACPI tables, (name, bytes) each. `role`: see Role.
        `processors`: their number. Under emulation a machine with one processor costs a third less than with two, which
        wait for each other.
        """
        base = image()
        EXCHANGE.mkdir(parents=True, exist_ok=True)
        folder = pathlib.Path(tempfile.mkdtemp(prefix="stas-vm-"))
        for name in role.disks:
            with open(folder / name, "wb") as file:
                file.truncate(role.disk_size)
        for name, content in tables:
            (folder / name).write_bytes(content)
        command = ["qemu-system-x86_64", *hardware(base, role, processors), *serial_console(folder, terminal),
                   "-kernel", f"{base}/vmlinuz", "-initrd", f"{base}/initrd", "-append", kernel_line(role, terminal, idle),
                   *devices(base, folder, role), *shares(), *role.arguments]
        for name, _ in tables:
            command += ["-acpitable", f"file={folder / name}"]
        with open(folder / "qemu.log", "wb") as log:
            streams = {} if terminal else {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process = subprocess.Popen(command, **streams, close_fds=not keep_locks, pass_fds=role.descriptors,
                                       start_new_session=not terminal, preexec_fn=None if keep_locks else end_with_parent)
        keep_priority(process.pid)
        machine = cls(process.pid, folder, process)
        machine.tables = tuple(name for name, _ in tables)
        return machine

    def fit(self):
        """True if it runs, and its target machine, too."""
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
        """Describes whether qemu runs or how it ended."""
        if self.process is None:
            return RUNS if self.alive() else "qemu ended"
        try:
            status = self.process.wait(2)
        except subprocess.TimeoutExpired:
            return RUNS
        return f"qemu ended with status {status}" if status >= 0 else f"qemu was killed by {signal.Signals(-status).name}"

    def starts(self):
        """Waits until qemu runs, and connects to the agent's port. The boot may not be complete."""
        deadline = time.monotonic() + START_LIMIT
        while not self.agent:
            try:
                self.agent = Agent(str(self.folder / "agent"))
            except Gone as error:
                # The socket does not exist yet, or qemu does not listen yet.
                if not self.alive() or time.monotonic() > deadline:
                    raise self.obituary(f"qemu does not listen: {error}") from error
                time.sleep(0.02)

    def ready(self):
        """Waits until the boot is complete and the agent is connected."""
        try:
            self.starts()
            self.agent.wait_ready(BOOT_LIMIT, lambda: self.alive() and not self.panicked())
            self.agent.run("systemctl is-system-running --wait >/dev/null", lambda _: None, limit=BOOT_LIMIT)
            self.patience = max(1.0, (time.monotonic() - self.begun) / USUAL_BOOT)
        except Died:
            raise
        except Gone as gone:
            raise self.obituary(str(gone)) from gone

    def panicked(self):
        return PANIC in self.console()

    def obituary(self, why):
        """Returns the exception for a failed boot: Died with one line, or Gone after Ctrl-A X."""
        console = self.console()
        if TERMINATED in console:
            return Gone("ended by Ctrl-A X")
        last = next((line[line.index(PANIC):].strip() for line in console.splitlines() if PANIC in line), None)
        fate = self.fate()
        return Died(f"boot failed: {last or why}{'' if fate == RUNS else f'; {fate}'}", console)

    def run(self, command, out, **how):
        """Calls Agent.run. If the machine is gone, adds its last output to the exception."""
        try:
            return self.agent.run(command, out, **how)
        except Gone as gone:
            gone.console = self.console()
            raise

    def install(self):
        """Installs the install tree in the machine. Returns the error message, or an empty text."""
        said = []
        status, why = self.run(["/harness/guest/install-tree", install_tree().name], said.append, limit=INSTALL_LIMIT)
        return "".join(said).strip() or f"status {status}, {why}" if status else ""

    def serve(self):
        """Waits until it has booted, and installs the tree. Raises Died if the boot fails, Gone for other failures."""
        self.ready()
        if complaint := self.install():
            raise Gone(f"the install tree does not install:\n{complaint}")

    def wait_end(self):
        """Waits until its user ends it. Returns the exit status of qemu.

        A guest that powers off may wait for storage for ever: qemu is killed after OFF_LIMIT.
        """
        self.agent.wait_leaving()
        try:
            return self.process.wait(OFF_LIMIT)
        except subprocess.TimeoutExpired:
            print(f"\r\nthe machine has not powered off within {OFF_LIMIT} s: ending it\r", file=sys.stderr)
            self.process.kill()
            return self.process.wait()

    def console(self):
        """Returns the last output of the machine and of qemu."""
        text = ""
        for name in ("qemu.log", "console.log"):
            try:
                text += (self.folder / name).read_text(errors="replace")
            except OSError:
                pass
        return text[-20000:]

    def stop(self):
        """Kills it. Its disk is a temporary snapshot, so no shutdown is necessary."""
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
            time.sleep(0.02)  # not a child of this process: its end is not reported
        shutil.rmtree(self.folder, ignore_errors=True)

    # A machine that --up started.

    def remember(self):
        STATE.mkdir(parents=True, exist_ok=True)
        UP.write_text(json.dumps({"pid": self.pid, "folder": str(self.folder), "patience": self.patience}))

    @classmethod
    def running(cls):
        """Returns the machine that `--up` started, if it still runs."""
        try:
            kept = json.loads(UP.read_text())
            machine = cls(kept["pid"], kept["folder"])
            machine.patience = kept["patience"]
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


def hardware(base, role, processors):
    arguments = accel.arguments(base)
    usual = max(2, min(os.cpu_count() or 1, 4)) if arguments == accel.KVM else 2
    return ["-machine", "q35,sata=off,smbus=off", *arguments, "-smp", str(processors or usual), "-m", str(role.memory),
            *([] if role.survives_reset else ["-no-reboot"])]


def serial_console(folder, terminal):
    """Returns qemu's arguments for the serial console. Its output is written to console.log."""
    if terminal:
        where = f"stdio,id=console,mux=on,signal=off,logfile={folder}/console.log"
        return ["-nographic", "-nodefaults", "-chardev", where, "-serial", "chardev:console", "-mon", "chardev=console"]
    return ["-nographic", "-nodefaults", "-monitor", "none", "-serial", f"file:{folder}/console.log"]


def kernel_line(role, terminal, idle):
    # A machine with an oops during the boot cannot be used. The agent resets `oops=panic` after the boot.
    words = ["console=ttyS0", "quiet", "loglevel=4", "mitigations=off", "net.ifnames=0", "nokaslr", "panic=-1", "oops=panic",
             "systemd.show_status=0", *role.words]
    if not terminal:
        words.append("systemd.mask=serial-getty@ttyS0.service")
    if idle:
        words.append(f"harness.idle={idle}")
    return " ".join(words)


def devices(base, folder, role):
    arguments = ["-drive", f"file={base}/root.img,if=virtio,format=raw,snapshot=on",
                 "-device", "virtio-rng-pci", "-device", "virtio-serial-pci",
                 "-chardev", f"socket,id=agent,path={folder}/agent,server=on,wait=off",
                 "-device", "virtserialport,chardev=agent,name=harness"]
    for name in role.disks:
        arguments += ["-drive", f"file={folder / name},if=virtio,format=raw"]
    return arguments


def shares():
    """Returns the shares that the guest mounts. The parent of the tree is shared, because `make tree` replaces the tree.

    Only a scenario that needs it mounts `utils`, the folder of the sources.
    """
    arguments = []
    for tag, path, mode in (("harness", VM, ",readonly=on"), ("trees", install_tree().parent, ",readonly=on"), ("results", EXCHANGE, ""),
                            ("utils", TOP / "utils", ",readonly=on")):
        arguments += ["-virtfs", f"local,path={path},mount_tag={tag},security_model=none{mode}"]
    return arguments


def keep_priority(pid):
    """Copies this process's nice value to the scheduling group of the new session, which starts at 0."""
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text(str(os.nice(0)))
    except OSError:
        pass  # the kernel has no such groups, or only root may set this value


def end_with_parent():
    """Runs in the new process: if the runner is killed, the machine is killed, too (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def complain(gone):
    """Prints the error and the last lines of the machine."""
    print(gone, file=sys.stderr)
    if console := gone.console.strip():
        print("its last lines:\n" + "\n".join(console.splitlines()[-30:]), file=sys.stderr)
