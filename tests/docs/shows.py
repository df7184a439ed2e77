"""Checks that a page shows a file after the line "<!-- MARK -->": shows.py PAGE MARK FILE.

The text stands in a code block, or, for a table, plainly, up to the next empty line.
"""

import difflib
import pathlib
import sys


def shown(page, mark):
    lines = iter(pathlib.Path(page).read_text().splitlines())
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
    page, mark, path = sys.argv[1:]
    wanted = pathlib.Path(path).read_text().splitlines()
    difference = list(difflib.unified_diff(shown(page, mark), wanted, page, mark, lineterm=""))
    if difference:
        print(f"FAILED {page} is not current:", *difference, sep="\n")
    return 1 if difference else 0


if __name__ == "__main__":
    sys.exit(main())
