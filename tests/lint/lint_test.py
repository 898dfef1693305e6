#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lints find what they are for: each is run on a small tree with one fault, and on the same tree without it."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
GOOD = "// SPDX-License-Identifier: Apache-2.0\n#pragma once\n#include \"lsd/core/error.h\"\n"
FAULTS = {
    "check_layers.py": {
        "include/lsd/nn/a.h": GOOD + '#include "lsd/io/b.h"\n',
        "include/lsd/nn/b.h": GOOD + "#include <mpi.h>\n",
        "include/lsd/nn/c.h": GOOD + "#include <cuda_runtime.h>\n",
        "include/lsd/nn/d.h": GOOD + "#ifdef FAST\n#endif\n",
        "include/lsd/core/e.h": "// SPDX-License-Identifier: Apache-2.0\nint x;\n",
        "src/nn/linear_private.h": GOOD,
        "src/dist/f.cpp": '#include "lsd/models/model.h"\n',
        "src/nn/g.cpp": '#include "lsd/core/no_such_header.h"\n',
        "src/unknown/h.cpp": "int x;\n",
        "src/nn/i.cpp": "#include <mpi.h>\n",
        "src/tasks/j.cpp": "#include <boost/program_options.hpp>\n",
    },
    "check_text.py": {
        "src/nn/a.cpp": "int x;\n",
        "src/nn/b.cpp": GOOD + "// TO" + "DO later\n",
        "src/nn/c.cpp": GOOD + "#define TWICE(x) ((x) * 2)\n",
        "tests/nn/d_test.cpp": GOOD + "// a place" + "holder\n",
        "docs/f.md": "see /ho" + "me/someone/file\n",
        "tools/g.sh": "#!/bin/sh\necho\n",
    },
}


class Lints(unittest.TestCase):
    def run_lint(self, name, extra):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            shutil.copytree(HERE, root / "tests" / "lint", ignore=shutil.ignore_patterns("__pycache__"))
            for place, text in {"include/lsd/core/error.h": GOOD.splitlines()[0] + "\n#pragma once\n", **extra}.items():
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                (root / place).write_text(text, encoding="utf-8")
            return subprocess.run([sys.executable, root / "tests" / "lint" / name], capture_output=True, text=True,
                                  check=False)

    def test_a_clean_tree_passes(self):
        for name in FAULTS:
            result = self.run_lint(name, {"src/nn/good.cpp": GOOD.replace("#pragma once\n", "")})
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_each_fault_is_found(self):
        for name, faults in FAULTS.items():
            for place, text in faults.items():
                with self.subTest(name=name, place=place):
                    result = self.run_lint(name, {place: text})
                    self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
                    self.assertIn(place + ":", result.stdout)


unittest.main()
