#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Syntax of what is packaged but cannot be run here: the Spack recipe compiles and names only options that exist, the
# Apptainer definition has known sections and a shell that parses, the module file is Tcl of known commands.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
source tests/slurm/check.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 - packaging/spack/package.py <<'PYTHON'
import ast, sys
ast.parse(open(sys.argv[1]).read(), sys.argv[1])
PYTHON
check "the Spack recipe parses" 0 $?
unknown=""
for option in $(grep -ohE '\bLSD_(WITH|BUILD)_[A-Z]+' packaging/spack/package.py packaging/apptainer/lsd.def | sort -u); do
  grep -qE "\b$option\b" CMakeLists.txt cmake/*.cmake || unknown+=" $option"
done
check "recipes use options that CMake knows" "" "$unknown"

sections=$(sed -n 's/^%\([a-z]*\).*/\1/p' packaging/apptainer/lsd.def | tr '\n' ' ')
check "sections of the Apptainer definition" "arguments files post environment test labels help " "$sections"
for section in post environment test; do
  sed -n "/^%$section/,/^%/{/^%/d;p}" packaging/apptainer/lsd.def >"$work/$section.sh"
  sh -n "$work/$section.sh"
  check "its %$section parses" 0 $?
done

strange=$(grep -vE '^(#|$|    |\}|(proc|set|module-whatis|conflict|prepend-path|setenv) )' packaging/modulefiles/lsd.in)
check "commands of the module file" "" "$strange"
check "braces of the module file" "$(tr -cd '{' <packaging/modulefiles/lsd.in | wc -c)" "$(tr -cd '}' <packaging/modulefiles/lsd.in | wc -c)"
if command -v tclsh >/dev/null; then
  printf 'proc module-whatis args {}\nproc conflict args {}\nproc prepend-path args {}\nproc setenv args {}\nsource packaging/modulefiles/lsd.in\n' |
    tclsh
  check "the module file runs in Tcl" 0 $?
fi
finish_checks
