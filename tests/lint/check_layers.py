#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes follow the arrows between modules; public headers are free of vendor headers, #if and build flags."""
import re

from lint_common import CODE, ROOT, Problems, files

# What each module may include directly or through others (docs/architecture.md).
BELOW = {
    "core": [],
    "tensor": ["core"],
    "backends": ["tensor"],
    "dist": ["tensor", "core"],
    "io": ["core"],
    "data": ["io", "core"],
    "nn": ["tensor"],
    "models": ["nn"],
    "train": ["models", "data", "dist", "io"],
    "tasks": ["train"],
    "apps": ["tasks", "backends"],
}
# The one side edge: NCCL works on the CUDA backend's stream.
SIDE_EDGES = {("src/dist/nccl", "backends")}
# Which modules may speak to which library, by how its headers' names begin; all others go through these modules'
# headers, which name none of them. JSON is spoken by whoever writes files, in no public header.
USERS = {
    "mpi": {"dist"}, "nccl": {"dist"}, "hdf5": {"io"}, "h5": {"io"}, "cuda": {"backends", "dist"}, "cublas": {"backends"},
    "cudnn": {"backends"}, "omp.h": {"backends"}, "oneapi/": {"backends"}, "dnnl": {"backends"}, "cblas": {"backends"},
    "boost/": {"core"}, "isa-l": {"data"}, "igzip": {"data"}, "zlib": {"data"}, "zstd": {"data"}, "xxhash": {"core", "data"},
    "nlohmann/": None,
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def may_include(module):
    reached = {module}
    todo = [module]
    while todo:
        for below in BELOW[todo.pop()]:
            if below not in reached:
                reached.add(below)
                todo.append(below)
    return reached


def check_include(problems, path, number, module, quote, name):
    place = path.relative_to(ROOT).as_posix()
    public = place.startswith("include/")
    for library, users in USERS.items():
        if quote != "<" or not name.lower().startswith(library):
            continue
        if public:
            problems.add(path, number, f"a public header includes <{name}>; keep it in src/")
        if users is not None and module not in users:
            problems.add(path, number, f"{module} may not include <{name}>; only {', '.join(sorted(users))} may")
    if name.startswith("lsd/"):
        used = name.split("/")[1]
        side = any(place.startswith(folder) and used == to for folder, to in SIDE_EDGES)
        if used not in may_include(module) and not side:
            problems.add(path, number, f"{module} may not include {used} (allowed: {', '.join(sorted(may_include(module)))})")
        if not (ROOT / "include" / name).exists():
            problems.add(path, number, f"no such public header: {name}")
    elif quote == '"' and public:
        problems.add(path, number, f"a public header includes a private one: {name}")


def check_file(problems, path, module):
    place = path.relative_to(ROOT).as_posix()
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if found := INCLUDE.match(line):
            check_include(problems, path, number, module, *found.groups())
        if place.startswith("include/") and re.match(r"^\s*#\s*(if|ifdef|ifndef|elif|else)\b", line):
            problems.add(path, number, "a public header has no #if: choose at link time")
    header = path.suffix in {".h", ".cuh"}
    if header and not any(line.strip() == "#pragma once" for line in lines[:3]):
        problems.add(path, 1, "'#pragma once' stands in the second line of a header")
    if place.startswith("src/") and path.suffix == ".h" and not path.name.endswith("_internal.h"):
        problems.add(path, 1, "a private header's name ends in _internal.h")


def main():
    problems = Problems()
    checked = 0
    for path in files("include", "src"):
        parts = path.relative_to(ROOT).parts
        if path.suffix not in CODE:
            continue
        module = parts[2] if parts[0] == "include" else parts[1]
        if module not in BELOW:
            problems.add(path, 1, f"'{module}' is not a module of the table in tests/lint/check_layers.py")
            continue
        check_file(problems, path, module)
        checked += 1
    problems.finish("layers", checked)


main()
