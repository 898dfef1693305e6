#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A real Slurm cluster of four nodes on this machine, for tests: munged, slurmctld and four slurmd, without systemd.
#
#   PREFIX=/tmp/lsd_slurm tests/slurm/cluster.sh up
#   source /tmp/lsd_slurm/env.sh        # then sbatch, squeue and so on speak to it
#   PREFIX=/tmp/lsd_slurm tests/slurm/cluster.sh down
#
# Where it may, the controller and every node live in network, host-name, mount and process namespaces of their own
# (MODE=namespaces: real host names, nothing leaves the machine); else on loopback ports (MODE=ports). MODE forces one.
# Needs root and the packages of cmake/debian-packages-slurm.txt. down stops what up started, by its own process ids.
# shellcheck disable=SC2016  # single quotes keep text for other shells
set -euo pipefail

: "${PREFIX:?PREFIX names the folder of the cluster}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
nodes=(n1 n2 n3 n4)
export SLURM_CONF=$PREFIX/etc/slurm.conf PREFIX
export PATH=$PATH:/usr/sbin:/sbin

die() {
  echo "cluster.sh: $*" >&2
  exit 1
}
saved() { cat "$PREFIX/run/$1" 2>/dev/null; }
namespace() { echo "lsd$(saved tag)-$1"; }
in_controller() { if [[ $(saved mode) == namespaces ]]; then ip netns exec "$(namespace ctl)" "$@"; else "$@"; fi; }

choose_mode() {
  if unshare --net --uts --mount --pid --fork true 2>/dev/null && ip netns add "lsd$$-probe" 2>/dev/null; then
    ip netns del "lsd$$-probe"
    echo namespaces
  else
    echo ports
  fi
}

start_munge() {
  mungekey -c -k "$PREFIX/munge/key" -b 1024
  munged --key-file="$PREFIX/munge/key" --socket="$PREFIX/munge/socket" --pid-file="$PREFIX/munge/munged.pid" \
    --log-file="$PREFIX/munge/munged.log" --seed-file="$PREFIX/munge/seed" --num-threads=2
}

make_namespaces() {
  local i bridge
  bridge=$(namespace ctl)
  ip netns add "$bridge"
  ip -n "$bridge" link set lo up
  ip -n "$bridge" link add bridge0 type bridge
  ip -n "$bridge" addr add 10.78.0.254/24 dev bridge0
  ip -n "$bridge" link set bridge0 up
  printf '127.0.0.1 localhost\n10.78.0.254 ctl %s\n' "$(hostname)" >"$PREFIX/etc/hosts"
  for i in 1 2 3 4; do
    ip netns add "$(namespace "n$i")"
    ip -n "$bridge" link add "v$i" type veth peer name eth0 netns "$(namespace "n$i")"
    ip -n "$bridge" link set "v$i" master bridge0 up
    ip -n "$(namespace "n$i")" addr add "10.78.0.$i/24" dev eth0
    ip -n "$(namespace "n$i")" link set eth0 up
    ip -n "$(namespace "n$i")" link set lo up
    echo "10.78.0.$i n$i" >>"$PREFIX/etc/hosts"
  done
}

write_config() {
  local controller lines="" i claims="CPUs=16 RealMemory=4000 Gres=gpu:8 State=UNKNOWN"
  if [[ $(saved mode) == namespaces ]]; then
    controller="ctl(10.78.0.254)"
    for i in 1 2 3 4; do lines+="NodeName=n$i NodeHostname=n$i NodeAddr=10.78.0.$i Port=16818 $claims\n"; done
  else
    controller="$(hostname -s)(127.0.0.1)"
    lines="NodeName=n[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[17001-17004] $claims\n"
  fi
  sed "s#@PREFIX@#$PREFIX#; s#@CONTROLLER@#$controller#; s#@NODES@#$lines#" "$here/slurm.conf.in" >"$SLURM_CONF"
  touch "$PREFIX"/gpu/gpu{0..7}
  echo "NodeName=n[1-4] Name=gpu File=$PREFIX/gpu/gpu[0-7]" >"$PREFIX/etc/gres.conf"
  # slurmd opens a cgroup plugin even where nothing uses it; finding one by itself needs /sys/fs/cgroup.
  echo CgroupPlugin=cgroup/v1 >"$PREFIX/etc/cgroup.conf"
}

start_controller() {
  if [[ $(saved mode) == namespaces ]]; then
    in_controller unshare --uts --mount bash -c 'hostname ctl; mount --bind "$PREFIX/etc/hosts" /etc/hosts
      exec slurmctld -i -f "$SLURM_CONF"' 2>>"$PREFIX/log/slurmctld.err"
  else
    slurmctld -i -f "$SLURM_CONF" 2>>"$PREFIX/log/slurmctld.err"
  fi
}

start_node() {
  mkdir -p "$PREFIX/tmp/$1" "$PREFIX/spool/$1"
  chmod 1777 "$PREFIX/tmp/$1"
  if [[ $(saved mode) == ports ]]; then
    slurmd -N "$1" -f "$SLURM_CONF" 2>>"$PREFIX/log/slurmd.$1.err"
    return
  fi
  # The inner bash is process 1 of the node: it reaps orphans, and its end is a power cut.
  setsid ip netns exec "$(namespace "$1")" unshare --uts --mount --pid --fork --mount-proc --kill-child=KILL bash -c '
    hostname "$1"
    mount --bind "$PREFIX/etc/hosts" /etc/hosts
    mount -t tmpfs -o size=1g tmpfs /dev/shm
    slurmd -D -N "$1" -f "$SLURM_CONF" &
    daemon=$!
    while kill -0 $daemon 2>/dev/null; do wait $daemon || true; done' _ "$1" \
    </dev/null >>"$PREFIX/log/slurmd.$1.err" 2>&1 &
  echo $! >"$PREFIX/run/node.$1.pid"
}

# The shell settings of those who speak to the cluster.
write_environment() {
  local client enter=""
  [[ $(saved mode) == ports ]] || enter="ip netns exec $(namespace ctl) "
  for client in srun sbatch squeue sinfo scontrol scancel; do
    # Inside a job the process stands in its node's namespace already.
    printf '#!/bin/sh\n[ -z "$SLURM_JOB_ID" ] || exec /usr/bin/%s "$@"\nexec %s/usr/bin/%s "$@"\n' "$client" "$enter" "$client" \
      >"$PREFIX/bin/$client"
    chmod +x "$PREFIX/bin/$client"
  done
  {
    echo "export PREFIX=$PREFIX SLURM_CONF=$SLURM_CONF PATH=$PREFIX/bin:\$PATH"
    if [[ $(saved mode) == namespaces ]]; then
      echo "export OMPI_MCA_btl=self,vader,tcp"
    else # nodes of one host name would share their shared-memory segments
      echo "export OMPI_MCA_btl=self,tcp OMPI_MCA_btl_tcp_if_include=lo OMPI_MCA_oob_tcp_if_include=lo"
    fi
  } >"$PREFIX/env.sh"
}

up() {
  local node idle=0 try
  command -v slurmctld slurmd munged ip >/dev/null || die "Slurm is missing; install the packages of cmake/debian-packages-slurm.txt"
  [[ ! -e $PREFIX/run ]] || die "$PREFIX/run exists: down first, or another PREFIX"
  mkdir -p "$PREFIX"/{etc,run,log,state,spool,tmp,munge,gpu,bin}
  chmod 755 "$PREFIX" "$PREFIX/munge"
  echo "$$" >"$PREFIX/run/tag"
  echo "${MODE:-$(choose_mode)}" >"$PREFIX/run/mode"
  start_munge
  [[ $(saved mode) == ports ]] || make_namespaces
  write_config
  write_environment
  start_controller
  for node in "${nodes[@]}"; do start_node "$node"; done
  for ((try = 0; try < 300; try++)); do
    idle=$(in_controller sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)
    [[ $idle != 4 ]] || break
    sleep 0.1
  done
  [[ $idle == 4 ]] || die "only $idle of 4 nodes came up; see $PREFIX/log"
  echo "cluster of 4 nodes is up ($(saved mode)): source $PREFIX/env.sh"
}

stop_by_file() { # pid file...: TERM, then KILL after 5 s
  local file pid try
  for file; do
    pid=$(cat "$file" 2>/dev/null) || continue
    kill -TERM "$pid" 2>/dev/null || continue
    for ((try = 0; try < 50; try++)); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

down() {
  local node try
  [[ -e $PREFIX/run ]] || return 0
  if in_controller scancel -u root 2>/dev/null; then
    for ((try = 0; try < 60; try++)); do
      [[ -n $(in_controller squeue -h 2>/dev/null) ]] || break
      sleep 0.1
    done
  fi
  if [[ $(saved mode) == namespaces ]]; then
    for node in "${nodes[@]}"; do kill -KILL "$(saved "node.$node.pid")" 2>/dev/null || true; done
  else
    stop_by_file "$PREFIX"/run/slurmd.*.pid
  fi
  stop_by_file "$PREFIX/run/slurmctld.pid" "$PREFIX/munge/munged.pid"
  if [[ $(saved mode) == namespaces ]]; then
    for node in "${nodes[@]}" ctl; do ip netns del "$(namespace "$node")" 2>/dev/null || true; done
  fi
  rm -rf "$PREFIX/run"
}

case ${1:-} in
  up) up ;;
  down) down ;;
  kill) # a power cut of one node
    [[ $(saved mode) == namespaces ]] || die "only nodes with namespaces can be cut off"
    kill -KILL "$(saved "node.${2:?kill which node?}.pid")"
    ;;
  *) die "use: cluster.sh up | down | kill NODE" ;;
esac
