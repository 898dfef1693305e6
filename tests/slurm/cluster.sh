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

# Every kind of thing that namespaces need here, tried once.
choose_mode() {
  local name=lsd$$-probe mode=ports
  if command -v ip >/dev/null && ip netns add "$name" 2>/dev/null; then
    if ip -n "$name" link add bridge0 type bridge && ip -n "$name" link add v0 type veth peer name v1 &&
      ip netns exec "$name" unshare --uts --mount --pid --fork --mount-proc --kill-child=KILL \
        bash -c 'hostname probe && mount -t tmpfs tmpfs /dev/shm'; then
      mode=namespaces
    fi 2>/dev/null
    ip netns del "$name" 2>/dev/null || true
  fi
  echo "$mode"
}

# A port from which 20 are free, for MODE=ports.
free_ports() {
  local base port used
  for base in $(shuf -i 200-600 -n 20); do
    base=$((base * 50)) used=0
    for ((port = base; port < base + 20; port++)); do
      ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || used=1
    done
    [[ $used == 1 ]] || break
  done
  echo "$base"
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
  local controller lines="" i port=16800 claims="CPUs=16 RealMemory=4000 Gres=gpu:8 State=UNKNOWN"
  if [[ $(saved mode) == namespaces ]]; then
    controller="ctl(10.78.0.254)"
    for i in 1 2 3 4; do lines+="NodeName=n$i NodeHostname=n$i NodeAddr=10.78.0.$i Port=$((port + 18)) $claims Weight=$((i == 1 ? 100 : 1))\n"; done
  else
    port=$(free_ports)
    controller="$(hostname -s)(127.0.0.1)"
    lines="NodeName=n[1-4] NodeHostname=localhost NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 4))] $claims\n"
  fi
  sed "s#@PREFIX@#$PREFIX#; s#@CONTROLLER@#$controller#; s#@PORT@#$((port + 17))#; s#@NODES@#$lines#" "$here/slurm.conf.in" >"$SLURM_CONF"
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
    setsid slurmd -N "$1" -f "$SLURM_CONF" 2>>"$PREFIX/log/slurmd.$1.err"
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
  [[ ! -e $PREFIX/run ]] || die "$PREFIX/run exists: down first, or another PREFIX"
  local mode=${MODE:-$(choose_mode)}
  if up_as "$mode"; then return; fi
  [[ -z ${MODE:-} && $mode == namespaces ]] || die "the cluster did not come up; see $PREFIX/log"
  echo "cluster.sh: nodes with namespaces did not come up; now on ports" >&2
  down
  up_as ports || die "the cluster did not come up; see $PREFIX/log"
}

up_as() { # mode
  local node idle=0 end=$((SECONDS + 90))
  mkdir -p "$PREFIX"/{etc,run,log,state,spool,tmp,munge,gpu,bin}
  chmod 755 "$PREFIX" "$PREFIX/munge"
  echo "$$" >"$PREFIX/run/tag"
  echo "$1" >"$PREFIX/run/mode"
  start_munge || return 1
  [[ $1 == ports ]] || make_namespaces || return 1
  write_config
  write_environment
  start_controller || return 1
  for node in "${nodes[@]}"; do start_node "$node" || return 1; done
  while ((idle != 4 && SECONDS < end)); do
    sleep 0.1
    idle=$(in_controller timeout 10 sinfo -h -N -t idle -o %N 2>/dev/null | sort -u | wc -l)
  done
  [[ $idle == 4 ]] || { echo "cluster.sh: only $idle of 4 nodes came up" >&2 && return 1; }
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

# On ports a node is whoever writes its log (slurmd and slurmstepd), and what these started.
processes_of_node() { # node
  local roots
  roots=$(find /proc/[0-9]*/fd -lname "$PREFIX/log/slurmd.$1.log" 2>/dev/null | cut -d/ -f3 | sort -u | tr '\n' ' ' || true)
  ps -e -o pid= -o ppid= | awk -v roots="$roots" 'BEGIN {n = split(roots, r, " "); for (i = 1; i <= n; i++) mine[r[i]] = 1}
    {parent[$1] = $2}
    END {for (p in parent) {for (q = p; q > 1 && !(q in mine); q = parent[q]) {} if (q in mine) print p}}'
}

kill_node() { # node
  if [[ $(saved mode) == namespaces ]]; then
    kill -KILL "$(saved "node.$1.pid")" 2>/dev/null || true
    return
  fi
  local pids
  mapfile -t pids < <(processes_of_node "$1")
  [[ ${#pids[@]} != 0 ]] || return 0
  # A daemon that outlives its rank by a moment would tell of it, which no node without power does.
  kill -STOP "${pids[@]}" 2>/dev/null || true
  kill -KILL "${pids[@]}" 2>/dev/null || true
}

# Cut off from the network; what runs there runs on. Ports cannot be cut like that.
cut_node() { # node
  [[ $(saved mode) == namespaces ]] || die "only nodes with namespaces can be cut off"
  ip -n "$(namespace ctl)" link set "v${1#n}" down
}

down() {
  local node try
  [[ -e $PREFIX/run ]] || return 0
  if in_controller timeout 10 scancel -u root 2>/dev/null; then
    for ((try = 0; try < 60; try++)); do
      [[ -n $(in_controller timeout 10 squeue -h 2>/dev/null) ]] || break
      sleep 0.1
    done
  fi
  if [[ $(saved mode) == namespaces ]]; then
    for node in "${nodes[@]}"; do kill_node "$node"; done
  else
    for node in "${nodes[@]}"; do kill_node "$node"; done
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
  kill) kill_node "${2:?kill which node?}" ;; # a power cut
  cut) cut_node "${2:?cut off which node?}" ;;
  *) die "use: cluster.sh up | down | kill NODE | cut NODE" ;;
esac
