"""Checks that README.md shows a file after the line "<!-- MARK -->": shows.py MARK FILE.

The text stands in a code block, or, for a table, plainly, up to the next empty line.
"""

import difflib
import pathlib
import sys


def shown(mark):
    lines = iter(pathlib.Path("README.md").read_text().splitlines())
    for line in lines:
        if line == f"<!-- {mark} -->":
            break
    first = next(lines, "")
    end = "```" if first.startswith("```") else ""
    text = [] if end else [first]
    for line in lines:
        if line == end:
            break
        text.append(line)
    return text


def main():
    mark, path = sys.argv[1:]
    wanted = pathlib.Path(path).read_text().splitlines()
    difference = list(difflib.unified_diff(shown(mark), wanted, "README.md", mark, lineterm=""))
    if difference:
        print("FAILED README.md is not current:", *difference, sep="\n")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
