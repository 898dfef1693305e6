#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# no_weak_symbols.sh NM OBJECT...: fails when an object defines a weak symbol, which the linker may pick for all callers.
nm=$1
shift
[ $# -gt 0 ] || { echo "no objects given"; exit 1; }
weak=$("$nm" -C --defined-only "$@" | grep -E ' [WVu] ')
[ -z "$weak" ] || { echo "weak symbols:"; echo "$weak"; exit 1; }
