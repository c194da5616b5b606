"""Runs scenarios one after the other in a machine. A machine that can no longer be used is replaced."""

import json
import os
import time

from . import acpi, boot, pair
from .agent import Gone
from .machine import EXCHANGE, IDLE
from .scenarios import Outcome

# Seconds in addition to the LIMIT of a scenario: for cleaning up, and for collecting data after a failure.
MARGIN = 120
# Environment variables that are passed to scenarios.
PASSED_ON = ("DROPPED", "EVENTS", "FLOOD", "KILLING", "SEED", "SILENT", "STARTS")


class Place:
    """A machine for scenarios. `folder`: for the logs. `keep`: keep the machine running at the end. `borrowed`: the machine
    that --up started; it is kept running. `processors`: their number in each machine (default: as usual)."""

    def __init__(self, folder, peer=False, keep=False, borrowed=None, processors=None):
        self.folder = folder
        self.peer = peer
        self.keep = keep
        self.borrowed = borrowed
        self.processors = processors
        self.machine = None
        # True if the next scenario needs another machine.
        self.used_up = False

    def play(self, scenario):
        """Runs a scenario. Every failure is part of the returned outcome."""
        start = time.monotonic()
        path = EXCHANGE / f"{scenario.name}.json"
        path.unlink(missing_ok=True)
        with open(self.folder / f"{scenario.name}.log", "w") as log:
            def write(text):
                log.write(text)
                log.flush()

            write(f"{scenario.name}: {scenario.promise}\n\n")
            try:
                self.ensure(scenario)
                start = time.monotonic()
                command = ["python3", "/harness/guest/play.py", scenario.name] + (["--peer"] if self.peer else [])
                patience = self.machine.patience
                environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"PATIENCE": str(patience)}
                status, why = self.machine.run(command, write, limit=(scenario.limit + MARGIN) * patience, env=environment)
            except Gone as gone:
                write(f"\nERROR: {gone}\n\n----- console\n{gone.console}\n")
                if self.machine and self.machine.target:
                    write(target_console(self.machine.target))
                why = "\n".join([str(gone), self.machine.fate() if self.machine else "", *gone.console.splitlines()[-30:]])
                self.drop()
                return Outcome(scenario, "ERROR", time.monotonic() - start, why)
            if self.machine.target and (status or not self.machine.fit()):
                write(target_console(self.machine.target))
            # It may have changed the machine, for example reloaded the modules of the kernel with other parameters.
            self.used_up = scenario.fresh_machine
            if status:
                self.drop()
            try:
                found = json.loads(path.read_text())
            except (OSError, ValueError):
                reason = "it had to be stopped" if why == "limit" else f"it ended with status {status} and no outcome"
                write(f"\nERROR: {reason}\n")
                return Outcome(scenario, "ERROR", time.monotonic() - start, reason)
            finally:
                path.unlink(missing_ok=True)
            return Outcome(scenario, found["outcome"], found["seconds"], found["why"], found["measurements"], found["notes"],
                           found["final"])

    def ensure(self, scenario):
        """Makes sure that the machine runs and is what the scenario needs. Otherwise it is replaced."""
        tables, two = scenario.tables, scenario.target_machine
        if self.borrowed and (tables or two):
            wish = ", ".join([*tables, *["a target machine beside it"] * two])
            raise Gone(f"it needs a machine with {wish}: play it without --here")
        if self.machine:
            fits = self.machine.tables == tables and bool(self.machine.target) == two
            if self.borrowed and fits and self.machine.fit():
                return
            if fits and self.machine.fit() and not (scenario.fresh_machine or self.used_up):
                return
            self.drop()
        if self.borrowed:
            self.machine = self.borrowed.connect()
            return
        tables = [(name, acpi.read(name)) for name in tables]
        if two:
            self.machine = pair.boot(tables=tables)
            return
        self.machine = boot.machine(keep_locks=self.keep, idle=IDLE if self.keep else None, tables=tables, processors=self.processors)

    def drop(self):
        if self.machine:
            self.machine.stop()
        self.machine = self.borrowed = None
        self.used_up = False

    def end(self):
        if self.machine and self.machine is self.borrowed:
            self.machine.agent.close()
        elif self.machine and self.keep and self.machine.alive() and not self.machine.target:
            self.machine.agent.close()
            self.machine.remember()
            print("the machine stays up: tests/vm/run --exec CMD, tests/vm/run --down")
        elif self.machine:
            self.machine.stop()


def target_console(target):
    return f"\n----- the target machine: {target.fate()}\n{target.console()}\n"
