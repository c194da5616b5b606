"""Chooses how qemu runs the machine: hardware virtualisation where it is proved to work, else emulation."""

import os
import pathlib
import subprocess

# Nehalem is emulated faster than newer models. With RDRAND the kernel's random number generator is ready before the
# second processor starts; without it the kernel patches its code for that (static key crng_is_ready) while user space
# already runs. The one boot whose death was recorded died there (README.md, "Boots that die").
TCG = ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "Nehalem-v1,+rdrand"]
KVM = ["-accel", "kvm", "-cpu", "host"]
# Time for the trial boot with KVM, in seconds; it takes two on ordinary hardware.
TRIAL_LIMIT = 20


def arguments(image):
    """qemu's arguments for the accelerator. VM_ACCEL=kvm or =tcg decides without a trial."""
    wish = os.environ.get("VM_ACCEL", "")
    if wish not in ("", "kvm", "tcg"):
        raise SystemExit(f"VM_ACCEL={wish}: it can be kvm or tcg")
    return KVM if wish == "kvm" or (not wish and kvm_works(image)) else TCG


def kvm_works(image):
    """A device node that opens proves little: the machine's own kernel must run to its initramfs and end by itself.

    The verdict is kept until the host reboots.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    verdict = pathlib.Path(image).parent / "kvm-verdict"
    try:
        kept_boot, kept = verdict.read_text().split()
        if kept_boot == boot:
            return kept == "works"
    except (OSError, ValueError):
        pass
    works = trial(image)
    try:
        verdict.write_text(f"{boot} {'works' if works else 'fails'}\n")
    except OSError:
        pass  # a cache that belongs to somebody else: try again next time
    return works


def trial(image):
    command = ["qemu-system-x86_64", "-machine", "q35", *KVM, "-m", "512", "-nographic", "-nodefaults", "-no-reboot",
               "-serial", "stdio", "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initrd",
               "-append", "console=ttyS0 quiet panic=-1 harness.trial"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_LIMIT)
    except (subprocess.TimeoutExpired, OSError):
        return False
    return done.returncode == 0 and b"trial: the kernel runs" in done.stdout
