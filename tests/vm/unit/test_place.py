"""Tests which machine a scenario gets."""

import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from runner import place  # noqa: E402
from runner.scenarios import Scenario  # noqa: E402


class Machine:
    """A machine in which every scenario passes."""

    tables, target, patience = (), None, 1.0
    booted = []

    def __init__(self, exchange):
        self.exchange = exchange
        self.played = []
        Machine.booted.append(self)

    def run(self, command, *_, **__):
        self.played.append(command[2])
        found = {"outcome": "PASSED", "seconds": 1.0, "why": "", "measurements": [], "notes": [], "final": False}
        (self.exchange / f"{command[2]}.json").write_text(json.dumps(found))
        return 0, ""

    def fit(self):
        return True

    def stop(self):
        pass


class Case(unittest.TestCase):
    def test_no_other_scenario_runs_in_a_machine_in_which_one_needed_a_fresh_one(self):
        plain, fresh = Scenario("plain", "of no matter here", 60), Scenario("fresh", "of no matter here", 60, fresh_machine=True)
        Machine.booted = []
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            with mock.patch.object(place, "EXCHANGE", folder), mock.patch.object(place.boot, "machine", lambda **_: Machine(folder)):
                here = place.Place(folder)
                outcomes = [here.play(each).outcome for each in (plain, plain, fresh, plain, fresh, fresh, plain, plain)]
        self.assertEqual(outcomes, ["PASSED"] * 8)
        played = [machine.played for machine in Machine.booted]
        self.assertEqual(played, [["plain", "plain"], ["fresh"], ["plain"], ["fresh"], ["fresh"], ["plain", "plain"]])


if __name__ == "__main__":
    unittest.main()
