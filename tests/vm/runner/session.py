"""A run of scenarios. Scenarios without time limits run at the same time, others alone. Failed ones are run again."""

import collections
import json
import os
import pathlib
import sys
import threading
import time

from .machine import TOP, VM, Machine
from .place import Place

# Number of machines at the same time, with one processor each.
AT_ONCE = min((os.cpu_count() or 1) + 1, 6)
# Several machines are used only for at least this many scenarios: each machine must boot first.
WORTH_MORE_MACHINES = 6


class Session:
    """A run: its results folder, its outcomes, and its output."""

    def __init__(self, scenarios, peer=False, keep=False, here=False, once=False, within=None):
        self.scenarios = scenarios
        self.deadline = time.monotonic() + within if within else None
        self.peer = peer
        self.keep = keep
        self.once = once
        self.outcomes = []
        # Scenarios that failed while others ran. They are run again when no other runs.
        self.to_repeat = []
        self.running = []
        self.screen = threading.Lock()
        borrowed = Machine.running() if here else None
        if here and not borrowed:
            raise SystemExit("no machine is up: tests/vm/run --up")
        self.folder = TOP / "results" / (time.strftime("%Y%m%d-%H%M%S") + ("-peer" if peer else ""))
        self.folder.mkdir(parents=True)
        latest = self.folder.parent / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(self.folder.name)
        self.place = Place(self.folder, peer, keep, borrowed)

    def play(self):
        start = time.monotonic()
        beside = [] if self.peer or self.keep or self.place.borrowed else [each for each in self.scenarios if not self.wants_to_be_alone(each)]
        if len(beside) < WORTH_MORE_MACHINES:
            beside = []
        try:
            self.at_once(beside)
            for first in self.to_repeat:
                self.second_try(self.place, first)
            alone = [each for each in self.scenarios if each not in beside]
            # With a deadline, long scenarios that only measure are run last.
            for scenario in sorted(alone, key=lambda each: (not each.coverage, each.limit)) if self.deadline else alone:
                if self.time_is_left():
                    self.settle(self.place, scenario)
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
        finally:
            self.place.end()
        return self.report(time.monotonic() - start)

    def time_is_left(self):
        return self.deadline is None or time.monotonic() < self.deadline

    def wants_to_be_alone(self, scenario):
        # With `--once`, programs are instrumented and times are not checked.
        return scenario.target_machine if self.once else scenario.alone

    def at_once(self, scenarios):
        """Runs scenarios in several machines. Scenarios mostly wait, so that this takes little more time than one machine."""
        if not scenarios:
            return
        # Scenarios with a large LIMIT first, so that all machines end at about the same time.
        queue = collections.deque(sorted(scenarios, key=lambda each: -each.limit))
        places = [Place(self.folder, processors=1) for _ in range(AT_ONCE)]
        wedged = []

        def others(place):
            try:
                self.work_off(place, queue)
                place.end()
            except BaseException as error:
                wedged.append(error)

        # A machine is killed when the thread that started it ends.
        threads = [threading.Thread(target=others, args=[place], daemon=True) for place in places]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except BaseException:
            queue.clear()
            for place in places:
                place.end()
            raise
        if wedged:
            raise wedged[0]

    def work_off(self, place, queue):
        while queue and self.time_is_left():
            try:
                scenario = queue.popleft()
            except IndexError:
                return
            self.settle(place, scenario)

    def settle(self, place, scenario):
        """Runs a scenario. A failed one is run again: at once if it ran alone, otherwise when no other runs."""
        self.announce(scenario)
        outcome = place.play(scenario)
        if outcome.outcome not in ("FAILED", "ERROR") or outcome.final or self.once or self.peer or place.borrowed:
            self.outcomes.append(outcome)
            return self.tell(outcome)
        self.tell(outcome)
        if place is self.place:
            self.second_try(place, outcome)
        else:
            place.drop()
            self.to_repeat.append(outcome)

    def second_try(self, place, first):
        """Runs a failed scenario once again in a new machine: the host may have been busy, or the machine may have crashed.

        The first run stays in the report.
        """
        name = first.scenario.name
        (self.folder / f"{name}.log").rename(self.folder / f"{name}.first-try.log")
        place.drop()
        self.announce(first.scenario)
        second = place.play(first.scenario)
        second.notes.insert(0, f"second try; the first was {first.outcome}: {first.why.splitlines()[0]}")
        self.outcomes.append(second)
        self.tell(second)

    # Output

    def announce(self, scenario):
        with self.screen:
            self.running.append(scenario)
            self.draw()

    def tell(self, outcome):
        with self.screen:
            self.running.remove(outcome.scenario)
            if sys.stdout.isatty():
                print("\r\x1b[K", end="")
            print(f"{outcome.outcome:7} {outcome.seconds:6.1f} s  {outcome.scenario.name}: {outcome.scenario.promise}")
            for number in outcome.measurements:
                print(f"                   {describe(number)}")
            if outcome.why:
                print("                   " + outcome.why.replace("\n", "\n                   "))
            self.draw()
            sys.stdout.flush()

    def draw(self):
        """Shows the running scenarios in the last line of the terminal."""
        if sys.stdout.isatty() and self.running:
            text = " | ".join(f"{each.name}: {each.promise}" if len(self.running) == 1 else each.name for each in self.running)
            print(f"\r\x1b[K        {text}"[:os.get_terminal_size().columns + 3], end="", flush=True)

    def report(self, seconds):
        """Writes summary and measurements. Returns the exit status."""
        self.outcomes.sort(key=lambda each: each.scenario.name)
        numbers = {each.scenario.name: each.measurements for each in self.outcomes if each.measurements}
        (self.folder / "measurements.json").write_text(json.dumps(numbers, indent=1) + "\n")
        lists = {kind: [each for each in self.outcomes if each.outcome == kind] for kind in ("PASSED", "FAILED", "SKIPPED", "ERROR")}
        lines = [f"{'the peer, ' if self.peer else ''}{seconds:.0f} s in all", ""]
        for kind, outcomes in lists.items():
            lines.append(f"{kind}: {len(outcomes)}")
            for each in outcomes:
                lines.append(f"  {each.scenario.name} ({each.seconds:.1f} s): {each.scenario.promise}")
                lines += details(each)
        lines += ["", "Measured (promise) [nvme-stas 2.4.1]:"]
        lines += [f"  {name}: {describe(number)}" for name, taken in numbers.items() for number in taken]
        failed = len(lists["FAILED"]) + len(lists["ERROR"])
        again = [each.scenario.name for each in self.outcomes if each.notes and each.notes[0].startswith("second try")]
        if again:
            lines += ["", f"SECOND TRY: {', '.join(again)}"]
            print(lines[-1])
        played = [each.scenario for each in self.outcomes]
        left_out = [each.name for each in self.scenarios if each not in played]
        if left_out:
            lines += ["", f"NOT PLAYED: {', '.join(left_out)}"]
            print(lines[-1])
        last = f"{len(lists['PASSED'])} passed, {failed} failed"
        if lists["SKIPPED"]:
            last += f", {len(lists['SKIPPED'])} skipped"
        if left_out:
            last += f", {len(left_out)} not played"
        (self.folder / "summary").write_text("\n".join(lines + ["", last]) + "\n")
        # Once again: the outcomes of the other scenarios have been printed since.
        for each in lists["FAILED"] + lists["ERROR"]:
            print("\n".join([f"{each.outcome}: {each.scenario.name}", *details(each)]))
        print(f"logs: {pathlib.Path(os.path.relpath(self.folder))}")
        print(last)
        whole = self.deadline is not None or not left_out
        return 0 if whole and not failed and lists["PASSED"] else 1


def details(outcome):
    return ["    " + line for line in outcome.why.splitlines() + outcome.notes]


def describe(number):
    sys.path.insert(0, str(VM / "guest"))
    from scene.numbers import describe as words  # the log of the scenario has the same text
    sys.path.pop(0)
    return words(number)
