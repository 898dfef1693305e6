# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# A few words for tests: every check prints one line; the caller ends with finish_checks.

passed=0 failed=0

check() { # fact wanted got
  if [[ $2 == "$3" ]]; then
    passed=$((passed + 1))
    echo "ok    $1"
  else
    failed=$((failed + 1))
    echo "FAIL  $1: wanted '$2', got '$3'"
  fi
}

check_has() { # fact text file
  if grep -qF -- "$2" "$3"; then check "$1" 1 1; else
    check "$1 (in $3)" "$2" "$(tail -n 5 "$3")"
  fi
}

finish_checks() {
  echo "$passed passed, $failed failed"
  [[ $failed == 0 ]]
}
