"""Tests which scenarios a run contains, their order, and when a scenario is run again."""

import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from runner import session  # noqa: E402
from runner.scenarios import Outcome, Scenario  # noqa: E402


class Place:
    """Runs nothing. A scenario fails as often as `fails` says."""

    fails = {}
    played = []

    def __init__(self, folder, *_, processors=None, **__):
        self.folder = folder
        self.borrowed = None
        self.alone = processors is None

    def play(self, scenario):
        (self.folder / f"{scenario.name}.log").write_text("")
        Place.played.append((scenario.name, "alone" if self.alone else "beside"))
        left = Place.fails.get(scenario.name, 0)
        Place.fails[scenario.name] = left - 1
        return Outcome(scenario, "FAILED" if left > 0 else "PASSED", 1.0, "it failed" if left > 0 else "")

    def drop(self):
        pass

    end = drop


class Case(unittest.TestCase):
    def play(self, found, fails=(), within=None, clock=lambda: 0.0):
        Place.fails, Place.played = dict(fails), []
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
            stack.enter_context(mock.patch.object(session, "TOP", folder))
            stack.enter_context(mock.patch.object(session, "Place", Place))
            stack.enter_context(mock.patch.object(session.time, "monotonic", clock))
            printed = stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
            status = session.Session(found, within=within).play()
        return status, printed.getvalue()

    def test_what_fails_beside_others_is_played_again_alone(self):
        status, printed = self.play(many(), fails={"quiet3": 1})
        self.assertEqual(status, 0)
        self.assertEqual([how for name, how in Place.played if name == "quiet3"], ["beside", "alone"])
        self.assertIn("SECOND TRY: quiet3", printed)

    def test_what_fails_twice_has_failed(self):
        status, printed = self.play(many(), fails={"quiet3": 2, "timed": 2})
        self.assertEqual(status, 1)
        self.assertIn("7 passed, 2 failed\n", printed)

    def test_nothing_is_begun_after_the_time_and_what_only_measures_comes_last(self):
        status, printed = self.play(many(), within=100, clock=lambda: 30.0 * len(Place.played))
        self.assertEqual(status, 0)
        # Each of three machines has started one scenario when the deadline passes.
        self.assertLessEqual(len(Place.played), 6)
        self.assertNotIn(("long", "alone"), Place.played)
        self.assertIn("NOT PLAYED: long", printed)

    def test_without_a_time_all_are_played(self):
        self.play(many())
        self.assertEqual(sorted(name for name, _ in Place.played), sorted(each.name for each in many()))


def many():
    quiet = [Scenario(f"quiet{number}", "of no matter here", 60) for number in range(7)]
    return [Scenario("long", "of no matter here", 900, timed=True, coverage=False), *quiet, Scenario("timed", "of no matter here", 60, timed=True)]


if __name__ == "__main__":
    unittest.main()
