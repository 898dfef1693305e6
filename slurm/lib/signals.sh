# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# run_forwarding COMMAND...: runs it in the background in a session of its own and turns USR1, TERM and INT, whoever
# gets them, into USR1 for it: srun and mpirun both hand USR1 to every rank, while TERM makes them kill the ranks before
# these can write a checkpoint. A second INT (Ctrl-C twice) ends it with TERM. Returns the command's exit code.
#
# `received` holds the last signal of this script's life, whether a program ran then or not; who starts one looks at it
# first. A script that starts another hands it on as LSD_RECEIVED.

received=${LSD_RECEIVED:-}
unset LSD_RECEIVED
forwarding_pid=""

on_stop_signal() {
  local send=USR1
  [[ $1 != INT || $received != INT ]] || send=TERM
  received=$1
  woken=1
  [[ -n $forwarding_pid ]] || return 0
  say "signal $1: telling the program to stop at a safe point"
  kill -"$send" "$forwarding_pid" 2>/dev/null || true
}

run_forwarding() {
  local status known=$received
  trap 'on_stop_signal USR1' USR1
  trap 'on_stop_signal TERM' TERM
  trap 'on_stop_signal INT' INT
  setsid "$@" &
  forwarding_pid=$!
  # One that came while the program was not known yet.
  [[ $received == "$known" ]] || kill -USR1 "$forwarding_pid" 2>/dev/null || true
  woken=1
  while [[ $woken == 1 ]]; do # a trap ends `wait` early; asked again, it tells the end of a program that is gone as well
    woken=0
    status=0
    wait "$forwarding_pid" || status=$?
  done
  forwarding_pid=""
  remember_signals
  trap - INT
  return "$status"
}

# While no program runs that could be told: a signal then is known to those who start or requeue something next.
remember_signals() {
  trap 'received=USR1' USR1
  trap 'received=TERM' TERM
}
