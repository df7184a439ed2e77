"""Tests of what the suite makes of its figures. Ends with "N passed, N failed"."""

import sys
import unittest

from tables import (Column, Metric, Table, figure_table, markdown, median, medians, paired_ratio,
                    percentile, verdict, verdict_table)

LESS = Metric("time", must=2, aim=1, unit=" s")
MORE = Metric("rate", must=1300, aim=1700, unit="/s", digits=0, more_is_better=True)


class Figures(unittest.TestCase):
    def test_median_leaves_out_what_is_unknown(self):
        self.assertEqual(median([3, None, 1, 2]), 2)
        self.assertEqual(median([4, 1]), 2.5)
        self.assertIsNone(median([None]))
        self.assertIsNone(median([]))

    def test_percentile_is_a_value_that_was_measured(self):
        values = list(range(1, 101))
        self.assertEqual(percentile(values, 0.5), 50)
        self.assertEqual(percentile(values, 0.99), 99)
        self.assertEqual(percentile(reversed(values), 1), 100)
        self.assertEqual(percentile([7], 0.99), 7)
        self.assertEqual(percentile([1, 2], 0.99), 2)
        self.assertIsNone(percentile([], 0.5))

    def test_medians_of_numbers_only(self):
        runs = [dict(workload="chain", rate=3, late=None, flag=True),
                dict(workload="chain", rate=1, late=5, flag=True),
                dict(workload="chain", rate=2, late=7, flag=True)]
        self.assertEqual(medians(runs), dict(workload="chain", rate=2, late=6, flag=True))
        self.assertEqual(medians([dict(late=None)]), dict(late=None))
        self.assertEqual(medians([]), {})

    def test_ratios_of_neighbours(self):
        # The machine was twice as fast in the second turn; the ratio does not see it.
        runs = [dict(rate=110), dict(rate=220), dict(rate=100)]
        bases = [dict(rate=100), dict(rate=200), dict(rate=100)]
        self.assertAlmostEqual(paired_ratio(runs, bases, "rate"), 1.1)
        self.assertIsNone(paired_ratio([dict(rate=1)], [dict(rate=None)], "rate"))
        self.assertIsNone(paired_ratio([dict(rate=1)], [dict(rate=0)], "rate"))


class Verdicts(unittest.TestCase):
    def test_less_is_better(self):
        self.assertEqual([verdict(LESS, value) for value in (0.5, 1, 1.5, 2, 2.01, None)],
                         ["aim", "aim", "must", "must", "MISSED", "not measured"])

    def test_more_is_better(self):
        self.assertEqual([verdict(MORE, value) for value in (1800, 1700, 1300, 1299.9)],
                         ["aim", "aim", "must", "MISSED"])

    def test_table(self):
        table = verdict_table("Done when", [(MORE, 1500.4), (LESS, None)])
        self.assertEqual(table.columns, ["metric", "must", "aim", "measured", "verdict"])
        self.assertEqual(table.rows, [["rate", "1,300/s", "1,700/s", "1,500/s", "must"],
                                      ["time", "2.00 s", "1.00 s", "-", "not measured"]])


class Tables(unittest.TestCase):
    def test_columns_that_nobody_knows_are_left_out(self):
        columns = [Column("rate", "per s"), Column("wal", "WAL", 0), Column("none", "nothing")]
        table = figure_table("Runs", columns, [("a", dict(rate=1.25, none=None)),
                                               ("b", dict(rate=1000, wal=9450.4))])
        self.assertEqual(table.columns, ["", "per s", "WAL"])
        self.assertEqual(table.rows, [["a", "1.2", "-"], ["b", "1,000.0", "9,450"]])

    def test_markdown(self):
        table = Table("Runs", ["", "per s", "what"], [["1 in flight", "1.0", "a|b"]], ["A note."])
        self.assertEqual(markdown(table), "### Runs\n\n|  | per s | what |\n|---|---:|---|\n"
                                          "| 1 in flight | 1.0 | a\\|b |\n\nA note.\n")


def main() -> int:
    result = unittest.TextTestRunner().run(
        unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__]))
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
