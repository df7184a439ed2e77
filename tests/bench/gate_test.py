"""What the gate lets pass, and what it says when it does not."""

import unittest

import gate

TOOLS = {"compiler": "g++ 12.2.0", "postgresql": "15.8"}
NAME = "alone.wal_bytes"


def baseline(**figures: float) -> dict:
    return {"tools": TOOLS, "figures": {figure.name: 100 for figure in gate.FIGURES} | figures}


def lines(measured: float, wanted: dict, tools: dict = TOOLS) -> list[tuple[bool, str]]:
    """Of the figure NAME; all others are as in a baseline of 100."""
    figures = {figure.name: 100 for figure in gate.FIGURES} | {NAME: measured}
    found = gate.compare(wanted, figures, tools)
    return [line for line, figure in zip(found, gate.FIGURES, strict=True) if figure.name == NAME]


class Compare(unittest.TestCase):
    def test_what_is_as_before_passes(self):
        found = gate.compare(baseline(), {figure.name: 100 for figure in gate.FIGURES}, TOOLS)
        self.assertEqual([True] * len(gate.FIGURES), [passed for passed, _ in found])

    def test_growth_within_the_tolerance_passes(self):
        self.assertTrue(lines(105, baseline())[0][0])

    def test_growth_beyond_the_tolerance_fails_and_says_what_to_do(self):
        [(passed, text)] = lines(105.2, baseline())
        self.assertFalse(passed)
        for word in (NAME, "105.2", "baseline 100", "+5.2 %", gate.REWRITE, "commit message"):
            self.assertIn(word, text)
        self.assertNotIn("tools", text)

    def test_growth_under_another_compiler_fails_and_names_both(self):
        [(passed, text)] = lines(106, baseline(), TOOLS | {"compiler": "g++ 12.3.0"})
        self.assertFalse(passed)
        self.assertIn("compiler was g++ 12.2.0 and is g++ 12.3.0", text)
        self.assertNotIn("postgresql", text)

    def test_another_compiler_alone_passes(self):
        self.assertTrue(lines(100, baseline(), TOOLS | {"compiler": "g++ 12.3.0"})[0][0])

    def test_a_fall_passes_and_is_offered_as_the_new_baseline(self):
        [(passed, text)] = lines(80, baseline())
        self.assertTrue(passed)
        self.assertIn(gate.REWRITE, text)

    def test_a_figure_without_baseline_fails(self):
        wanted = baseline()
        del wanted["figures"][NAME]
        [(passed, text)] = lines(100, wanted)
        self.assertFalse(passed)
        self.assertIn(gate.REWRITE, text)

    def test_what_was_nothing_may_not_become_something(self):
        wanted = baseline()
        wanted["figures"][NAME] = 0
        self.assertFalse(lines(0.1, wanted)[0][0])
        self.assertTrue(lines(0, wanted)[0][0])


if __name__ == "__main__":
    unittest.main()
