"""fio on a disk or a file: every block carries its checksum and is read again."""

import contextlib
import json
import os
import signal
import subprocess

from .expect import check


@contextlib.contextmanager
def verifying(disk, name, rate=200):
    """Reads and writes `rate` blocks a second of a disk (nvme0n1) or a file (an absolute path). Checks that fio runs during the whole block, that every block is verified, and that no request fails."""
    report = f"/run/harness/fio-{name}.json"
    process = subprocess.Popen(
        ["fio", f"--name={name}", f"--filename={os.path.join('/dev', disk)}", "--rw=randrw", "--bs=4k", "--size=16m", "--direct=1", "--ioengine=libaio",
         "--iodepth=4", f"--rate_iops={rate}", "--verify=crc32c", "--verify_backlog=64", "--verify_fatal=1", "--time_based",
         "--runtime=3600", "--output-format=json", f"--output={report}"], stdout=subprocess.DEVNULL)
    try:
        yield
        check(process.poll() is None, "fio runs until the end", process.poll())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(120)
    with open(report) as file:
        text = file.read()
    job = json.loads(text[text.index("{"):])["jobs"][0]
    check(job["error"] == 0, "no I/O error", job["error"])
    check(job["write"]["io_bytes"] > 0 and job["read"]["io_bytes"] > 0, "fio wrote and read", job["write"]["io_bytes"])
