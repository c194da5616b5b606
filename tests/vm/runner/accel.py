"""Chooses KVM if a trial boot with it succeeds, otherwise emulation."""

import os
import pathlib
import subprocess

# qemu emulates Nehalem faster than newer models. With RDRAND the kernel's random number generator is ready before the
# second processor starts. Without RDRAND the kernel patches its code for that (static key crng_is_ready) while user
# space already runs; the one recorded crash happened there, in getrandom(2): a processor executed an int3 instruction
# that the kernel had placed to patch its code, after the other processor had removed it. Crashes while booting the
# initramfs, in 60 boots each: Nehalem-v1: 1 (and 1 of 24 earlier ones); with maxcpus=1: 0; with thread=single: 0, in
# 1.4 times the time; with RDRAND: 0. These numbers do not prove that RDRAND helps: without it, one in three such series
# of 60 boots has no crash.
TCG = ["-accel", "tcg,thread=multi,tb-size=1024", "-cpu", "Nehalem-v1,+rdrand"]
KVM = ["-accel", "kvm", "-cpu", "host"]
# Time limit of the trial boot with KVM in seconds. It takes 2 on ordinary hardware.
TRIAL_LIMIT = 20


def arguments(image):
    """Returns qemu's arguments for the accelerator. With VM_ACCEL=kvm or tcg there is no trial boot."""
    wish = os.environ.get("VM_ACCEL", "")
    if wish not in ("", "kvm", "tcg"):
        raise SystemExit(f"VM_ACCEL={wish}: it can be kvm or tcg")
    return KVM if wish == "kvm" or (not wish and kvm_works(image)) else TCG


def kvm_works(image):
    """Tests KVM with a trial boot into the initramfs: that /dev/kvm can be opened is not enough.

    The result is valid until the host reboots.
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
        pass  # no permission to write to the cache: the next run tries again
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
