# SPDX-License-Identifier: Apache-2.0
"""What the lints share: the files of the tree, and how problems are told."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CODE = {".h", ".cpp", ".cu", ".cuh"}
SCRIPTS = {".py", ".sh", ".cmake"}


def files(*folders):
    """Tracked files, or every file outside build folders where there is no git (a source archive)."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                            capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        found = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not path.relative_to(ROOT).parts[0].startswith("build")]
    found = [path for path in found if path.is_file()]
    if folders:
        found = [path for path in found if path.relative_to(ROOT).parts[0] in folders]
    return sorted(found)


class Problems:
    def __init__(self):
        self.lines = []

    def add(self, path, number, text):
        self.lines.append(f"{path.relative_to(ROOT)}:{number}: {text}")

    def finish(self, name, checked):
        for line in self.lines:
            print(line)
        print(f"{name}: {len(self.lines)} problems in {checked} files")
        sys.exit(1 if self.lines or checked == 0 else 0)
