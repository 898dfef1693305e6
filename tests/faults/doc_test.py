#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""docs/faults.md and the suite name the same cases; every point that a case aims at exists, and every one that exists is passed."""
import pathlib
import re
import sys

from lab import points_passed

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]


def main():
    sources = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*_cases.py")}
    cases = [name for text in sources.values() for name in re.findall(r"^@case\ndef (\w+)\(", text, re.MULTILINE)]
    table = [line for line in (ROOT / "docs/faults.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    told = [found.group(1) for line in table if (found := re.search(r"\| `(\w+)` \|$", line))]
    points = set(re.findall(r'"([a-z]+\.[a-z_]+)"', (ROOT / "include/lsd/core/fault_names.h").read_text(encoding="utf-8")))
    used = set()
    for text in [*sources.values(), (FOLDER / "stages.py").read_text(encoding="utf-8")]:
        used.update(re.findall(r'"((?:file|folder|run|shard|train|checkpoint|dump|probe|verify)\.[a-z_]+)[#@="]', text))
    problems = [f"docs/faults.md lacks the case {name}" for name in cases if name not in told]
    problems += [f"docs/faults.md tells of '{name}', which is no case" for name in told if name not in cases]
    problems += [f"the case {name} is there twice" for name in set(cases) if cases.count(name) > 1 or told.count(name) > 1]
    problems += [f"the suite aims at {name}, which is not in fault_names.h" for name in sorted(used - points)]
    problems += [f"no source passes {name} of fault_names.h" for name in sorted(points - points_passed())]
    # Each phase of a write is aimed at; removing a damaged part comes ahead of one.
    writes = {name for name in points if re.match(r"(shard|checkpoint|dump)\.", name)} - {"dump.damaged_part_removed"}
    problems += [f"no case aims at {name}" for name in sorted(writes - used)]
    print("\n".join(problems))
    print(f"{len(cases)} cases, {len(told)} told, {len(used)} points used, {len(problems)} problems")
    return 1 if problems or not cases else 0


sys.exit(main())
