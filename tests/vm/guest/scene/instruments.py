"""Collects the files of instrumented programs: counters of `make coverage`, reports of `make sanitize`."""

import os
import pathlib
import shutil

# tests/instrumented adds this folder to the install tree. Without it, these functions do nothing.
FOLDER = pathlib.Path("/var/lib/instruments")
# Lines NAME=VALUE for the environment of all programs. {user}: the user of the program.
VARIABLES = FOLDER / "variables"
LEFT = FOLDER / "left"
RESULTS = pathlib.Path("/results/instruments")


def there():
    """True if the programs are instrumented, and therefore slow."""
    return FOLDER.is_dir()


def begin():
    """Sets the variables for all programs that this process starts."""
    os.environ.update(of("root"))


def of(user):
    """Returns the variables for a program of this user."""
    if not there():
        return {}
    return dict(line.replace("{user}", user).split("=", 1) for line in VARIABLES.read_text().splitlines())


def hand_over():
    """Copies all files of this machine to the host. Returns the text of new reports."""
    if not there():
        return ""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    RESULTS.mkdir(exist_ok=True)
    reports = []
    for file in sorted(LEFT.iterdir()):
        shutil.copyfile(file, RESULTS / f"{boot}-{file.name}")
        if ".report." in file.name:
            reports.append(f"{file.name}:\n{file.read_text(errors='replace').strip()}\n")
            file.unlink()
    return "\n".join(reports)
