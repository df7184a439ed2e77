"""Tests of what the suite makes of its figures. Ends with "N passed, N failed"."""

import re
import sys
import unittest

from chain_values import chain_input, chain_output
from fleet_figures import (LINES, detail_table, error_count, fleet_table, ideal_seconds, shares)
from kill_load import ACTIVITIES_MAX, activities_of, outputs, start_sql
from tables import (Column, Metric, Table, figure_table, markdown, median, medians, paired_ratio,
                    seconds_to_rate, verdict, verdict_table)

LESS = Metric("time", must=2, aim=1, unit=" s")
MORE = Metric("rate", must=1300, aim=1700, unit="/s", digits=0, more_is_better=True)


class Figures(unittest.TestCase):
    def test_median_leaves_out_what_is_unknown(self):
        self.assertEqual(median([3, None, 1, 2]), 2)
        self.assertEqual(median([4, 1]), 2.5)
        self.assertIsNone(median([None]))
        self.assertIsNone(median([]))

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

    def test_rate_is_reached_for_a_whole_second(self):
        # Tenths of a second: a burst of two tenths is no rate of more than their sum.
        counts = [0] * 5 + [20, 20] + [0] * 8 + [10] * 20
        self.assertAlmostEqual(seconds_to_rate(counts, 0.1, 100), 1.5)
        self.assertAlmostEqual(seconds_to_rate(counts, 0.1, 40), 0.0)
        self.assertIsNone(seconds_to_rate(counts, 0.1, 200))
        self.assertIsNone(seconds_to_rate([100] * 9, 0.1, 1))


class Values(unittest.TestCase):
    def test_chains_as_dtbench_computes_them(self):
        # The first outputs of splitmix64 with the seed 0.
        self.assertEqual(chain_input(0, 5), '"5:16294208416658607535"')
        self.assertEqual(chain_output(7, 0), chain_input(7, 1).replace("1:", ""))
        self.assertEqual(len(chain_output(7, 3)), 22)
        self.assertNotEqual(chain_output(7, 3), chain_output(7, 4))


class KillLoad(unittest.TestCase):
    def test_chains_of_all_lengths(self):
        lengths = [activities_of(number) for number in range(2 * ACTIVITIES_MAX)]
        self.assertEqual(sorted(lengths), sorted(2 * list(range(1, ACTIVITIES_MAX + 1))))

    def test_a_start_can_be_repeated(self):
        # By execution ids that differ, and are the same at each time.
        sql = start_sql(range(3, 5))
        ids = re.findall(r"'([0-9a-f]{32})'", sql)
        self.assertEqual(len(set(ids)), 2)
        self.assertEqual(sql, start_sql(range(3, 5)))
        self.assertEqual(re.findall(r"'([0-9a-f]{32})'", start_sql([4])), ids[1:])
        self.assertIn(f"'kill-3', '{ids[0]}', '{chain_input(3, 4)}'", sql)

    def test_outputs_are_those_of_the_inputs(self):
        self.assertEqual(outputs([3, 18]), {"kill-3": chain_output(3, 4),
                                            "kill-18": chain_output(18, 19)})


class Fleet(unittest.TestCase):
    def test_ideal_time_is_of_whole_rounds(self):
        self.assertAlmostEqual(ideal_seconds(200, 0.2, 12), 3.4)
        self.assertAlmostEqual(ideal_seconds(12, 0.2, 12), 0.2)

    def test_shares_of_equal_workers(self):
        self.assertEqual(shares([200, 0]), (0, 200))
        self.assertEqual(shares([50, 50, 50, 50]), (100, 100))

    def test_errors_that_dtbench_counts(self):
        self.assertEqual(error_count("dtbench: a: b\ndtbench: 12 error(s), no figures\n"), 12)
        self.assertEqual(error_count("dtbench: no orchestration ended\n"), 1)

    def test_table_has_medians_of_the_rows_that_were_measured(self):
        runs = {"wait": [dict(added_ms=9.0, one_ms=5.0), dict(added_ms=11.0, one_ms=6.0)],
                "kill": []}
        self.assertEqual(fleet_table(runs).rows,
                         [[LINES["wait"]["added_ms"].name, "10.0 ms", "25.0 ms", "8.0 ms"],
                          [LINES["kill"]["last_seconds"].name, "-", "5.0 s", "2.0 s"]])
        rolling = fleet_table({"rolling": [dict(errors=0), dict(errors=0), dict(errors=2)]})
        self.assertEqual([row[1] for row in rolling.rows], ["-", "-", "2", "-", "-"])
        self.assertEqual(detail_table(runs).rows[1],
                         ["wait", "one_ms", "5.500", "5.000", "6.000", "2"])


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
