#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Licence lines, marks of unfinished work, macros, and paths that exist on one machine only."""
import re

from lint_common import CODE, ROOT, SCRIPTS, Problems, files

# Written in halves, so that this file passes its own test.
MARKS = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
CODE_MARKS = re.compile(r"\b(" + "place" + r"holder|st" + r"ubs?)\b", re.IGNORECASE)
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(" + "|".join(["wo" + "rk", "opt/or" + "acle", "ho" + "me", "ro" + "ot"]) + r")/\w")
MACRO = re.compile(r"^\s*#\s*define\s+\w+\(")
TEXT = CODE | SCRIPTS | {".md", ".txt", ".cfg", ".json", ".env", ".supp", ".yml", ""}


def check_file(problems, path, text):
    code = path.suffix in CODE
    lines = text.splitlines()
    named = path.suffix in CODE | SCRIPTS or path.name == "CMakeLists.txt" or (lines and lines[0].startswith("#!"))
    if named and not any("SPDX-License-Identifier: Apache-2.0" in line for line in lines[:2]):
        problems.add(path, 1, "no line 'SPDX-License-Identifier: Apache-2.0' at the top")
    for number, line in enumerate(lines, 1):
        if found := MARKS.search(line) or (code and CODE_MARKS.search(line)):
            problems.add(path, number, f"'{found.group(0)}' marks unfinished work")
        if found := MACHINE_PATHS.search(line):
            problems.add(path, number, f"'{found.group(0)}...' is a path of one machine")
        if code and MACRO.match(line):
            problems.add(path, number, "a function-like macro; write a function")


def main():
    problems = Problems()
    checked = 0
    for path in files():
        if path.suffix not in TEXT or path.relative_to(ROOT).parts[:2] == ("data_prep", "sample"):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            problems.add(path, 1, "not UTF-8")
            continue
        check_file(problems, path, text)
        checked += 1
    problems.finish("text", checked)


main()
