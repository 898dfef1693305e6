# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# The stages of a pipeline in order, each after those it needs. For a stage S: kind_of[S], variant_of[S], needs[S].

stages=()
declare -A kind_of=() variant_of=() needs=()

add_stage() { # stage kind variant needed_stage...
  stages+=("$1")
  kind_of[$1]=$2
  variant_of[$1]=$3
  needs[$1]=${*:4}
}

plan_stages() {
  local variant variants dumps last=()
  read -r -a variants <<<"${setting[variants]}"
  add_stage shard shard ""
  for variant in "${variants[@]}"; do add_stage "train_$variant" train "$variant" shard; done
  for variant in "${variants[@]}"; do
    add_stage "dump_$variant" dump "$variant" "train_$variant"
    [[ ${setting[latents]} == recompute ]] || add_stage "dump_${variant}_valid" dump "$variant" "train_$variant"
  done
  for variant in "${variants[@]}"; do
    dumps=("dump_$variant")
    [[ ${setting[latents]} == recompute ]] || dumps+=("dump_${variant}_valid")
    add_stage "diffusion_$variant" diffusion "$variant" "${dumps[@]}"
  done
  for variant in "${variants[@]}"; do
    last+=("diffusion_$variant")
    [[ -n ${setting[probe.tasks]:-} ]] || continue
    add_stage "probe_$variant" probe "$variant" "diffusion_$variant"
    last[-1]=probe_$variant
  done
  add_stage report report "" "${last[@]}"
}

# The script of a stage; a variant without one of its own takes that of size S.
script_of() {
  local variant=${variant_of[$1]} name
  case ${kind_of[$1]} in
    shard) name=shard_uniref50 ;;
    dump) name=dump_latents ;;
    probe) name=probe_sweep ;;
    report) name=report ;;
    train) name=train_$variant ;;
    diffusion) name=train_diffusion_$variant ;;
  esac
  [[ -e slurm/$name.sh ]] || name+=_s
  [[ -e slurm/$name.sh ]] || die "variant '$variant': there is no slurm/$name.sh; variants are nm, tn, mlm, or one of these with _s or _m"
  echo "slurm/$name.sh"
}

# What can be known before anything is submitted to be wrong with a stage; the settings alone are checked by then.
check_plan() { # file
  local stage config
  for stage in "${stages[@]}"; do
    script_of "$stage" >/dev/null || exit 1
    config=$(stage_config "$stage")
    [[ -z $config || -r $config ]] ||
      die "$1: $stage has no config file $config: set ${kind_of[$stage]}.config, or take variants that have one, for example nm_s"
    [[ $action == here ]] || check_stage_time "$1" "$stage"
  done
  [[ $action == here ]] || check_array_sizes "$1"
}

# sbatch takes the time from its options, else from SBATCH_TIMELIMIT, else from the script.
check_stage_time() { # file stage
  local kind=${kind_of[$2]} time=${SBATCH_TIMELIMIT:-}
  [[ -z ${setting[$kind.time]:-} ]] || return 0
  if [[ -z $time ]]; then
    check_time "$1" "$kind" "$(sed -n 's/^#SBATCH.* --time=\([^ ]*\).*/\1/p' "$(script_of "$2")")" " (its script's)"
  elif seconds_of "$time" >/dev/null; then
    check_time "$1" "$kind" "$time" " (SBATCH_TIMELIMIT)"
  fi
}

# Slurm would refuse the array when the stages ahead of it are in the queue already.
check_array_sizes() { # file
  local stage largest
  for stage in "${stages[@]}"; do
    is_array "$stage" || continue
    [[ -n ${largest:-} ]] || largest=$(timeout 20 scontrol show config 2>/dev/null | sed -n 's/^MaxArraySize *= *\([0-9]*\)$/\1/p') || return 0
    [[ -n $largest ]] || return 0
    (($(num_tasks "$stage") <= largest)) ||
      die "$1: ${kind_of[$stage]}.jobs = $(num_tasks "$stage"): this Slurm takes arrays of up to $largest tasks (MaxArraySize)"
  done
}

# What a stage would be refused for when the stages ahead of it have run, maybe days later.
check_needs() { # file
  local stage
  for stage in "${stages[@]}"; do
    [[ -n ${chosen[$stage]:-} && $(planned_state "$stage") != "done" ]] || continue
    ! queue_has_all_of "$stage" || continue
    case ${kind_of[$stage]} in
      shard) check_fasta "$1" ;;
      train | diffusion) [[ $action == here ]] || check_ranks "$1" "$stage" ;;
    esac
  done
}

# One per line, without the blanks around them, as the program reads the list.
fasta_list() { printf "%s\n" "${setting[fasta]:-${LSD_FASTA:-}}"; }
fasta_files() { fasta_list | tr , '\n' | sed 's/^ *//; s/ *$//; /^$/d'; }

# Files named in the stage's own config or options are its program's business. "-" is standard input.
check_fasta() { # pipeline_file
  local file files list whose="fasta ="
  [[ -n ${setting[fasta]:-} ]] || whose=LSD_FASTA
  list=$(fasta_list)
  mapfile -t files < <(fasta_files)
  [[ ${#files[@]} != 0 || -n ${setting[shard.config]:-}${setting[shard.options]:-} ]] ||
    complain "$1: nothing to shard: set fasta = FILE there, or LSD_FASTA (site file or environment)"
  [[ ! $list =~ (^|,)\ *, && ! $list =~ ,\ *$ ]] ||
    complain "$1: the list of FASTA files has an empty place ($whose $list): take a comma out"
  for file in "${files[@]}"; do
    # In a container the file may have another name.
    [[ $file == - || -r $file || ${#LSD_WRAPPER[@]} != 0 ]] || complain "$1: shard cannot read the FASTA file '$file' ($whose $list)"
  done
}

# Unknown, so no complaint, without the program, and where sbatch options of the file decide about the ranks. Launcher
# `none` starts one.
check_ranks() { # pipeline_file stage
  local ranks batches kind=${kind_of[$2]}
  [[ $LSD_LAUNCHER != none ]] || return 0
  [[ ! " $(kind_setting "$2" sbatch)" =~ \ (--nodes|-N|--ntasks|-n|--ntasks-per-node)([=\ ]|[0-9]|$) ]] || return 0
  ranks=$(planned_ranks "$2")
  batches=$(ask_training "$2" --print-config 2>/dev/null | config_value training micro_batches) || return 0
  [[ -z $batches ]] || ((ranks <= batches)) ||
    die "$1: $2: $ranks ranks are too many for training.micro_batches = $batches, every rank needs one: lower $kind.nodes or $kind.ranks_per_node, or take a config with more"
}

# A dry run only tells of files that are not there yet.
complain() {
  [[ $dry_run == 1 ]] || die "$@"
  say "$@" >&2
}

kind_setting() { # stage key default
  local key=${kind_of[$1]}.$2
  echo "${setting[$key]-${3:-}}"
}

# What the stage script finds in its environment, as NAME=VALUE lines.
stage_environment() { # stage slice
  local config kind=${kind_of[$1]}
  config=$(kind_setting "$1" config)
  echo "LSD_RUN=$LSD_RUN"
  echo "LSD_RUNS=$LSD_RUNS"
  if [[ -n ${LSD_SITE:-} ]]; then
    if [[ $LSD_SITE == */* ]]; then echo "LSD_SITE=$site"; else echo "LSD_SITE=$LSD_SITE"; fi
  fi
  [[ -z ${variant_of[$1]} ]] || echo "LSD_VARIANT=${variant_of[$1]}"
  [[ -z $config ]] || echo "LSD_CONFIG=${config//'{variant}'/${variant_of[$1]}}"
  case $kind in
    shard) [[ -z ${setting[fasta]:-} ]] || echo "LSD_FASTA=${setting[fasta]}" ;;
    dump)
      [[ $1 != *_valid ]] || echo "LSD_SPLIT=valid"
      ! is_array "$1" || echo "LSD_DUMP_JOBS=${setting[dump.jobs]}"
      ;;&
    dump | diffusion) echo "LSD_LATENTS=${setting[latents]}" ;;
    probe)
      probe_environment
      echo "LSD_PROBE_JOBS=$(num_tasks "$1")"
      ;;
  esac
  [[ -z $(kind_setting "$1" options) ]] || echo "LSD_OPTIONS=$(kind_setting "$1" options)"
  echo "LSD_SLICE=$2"
  echo "LSD_SLICES=$(kind_setting "$1" slices 1)"
}

probe_environment() {
  local key
  echo "LSD_PROBE_TASKS=${setting[probe.tasks]}"
  for key in representations times heads seeds; do
    [[ -z ${setting[probe.$key]:-} ]] || echo "LSD_PROBE_${key^^}=${setting[probe.$key]}"
  done
}

# Nothing where the script's own number counts. A probe's rank has one GPU, however many a node has.
gpus_per_node() { # stage
  local of_site=${LSD_GPUS_PER_NODE:-}
  case ${kind_of[$1]} in
    train | dump | diffusion) ;;
    probe) [[ $of_site == 0 ]] || of_site="" ;;
    *) return 0 ;;
  esac
  kind_setting "$1" gpus_per_node "$of_site"
}

# One for each GPU where the file says nothing else; nothing where the script's own number counts.
ranks_per_node() { # stage
  local gpus=""
  [[ ${kind_of[$1]} == probe ]] || gpus=$(gpus_per_node "$1")
  gpus=${gpus##*:} # "h100:4"
  [[ $gpus != 0 ]] || gpus=""
  kind_setting "$1" ranks_per_node "$gpus"
}

check_site_gpus() {
  [[ ${LSD_GPUS_PER_NODE:-0} =~ ^([A-Za-z0-9_.-]+:)?[0-9]+$ ]] ||
    die "LSD_GPUS_PER_NODE = '$LSD_GPUS_PER_NODE' in $site: a number, or type:number as sbatch takes it"
}

# sbatch options of a stage beyond those in its script, one per line.
sbatch_options() { # stage
  local value gpus words
  value=$(kind_setting "$1" nodes)
  [[ -z $value ]] || echo "--nodes=$value"
  value=$(ranks_per_node "$1")
  [[ -z $value ]] || echo "--ntasks-per-node=$value"
  gpus=$(gpus_per_node "$1")
  [[ -z $gpus ]] || echo "--gpus-per-node=$gpus"
  value=$(kind_setting "$1" time)
  [[ -z $value ]] || echo "--time=$value"
  value=$(kind_setting "$1" signal_seconds)
  [[ -z $value ]] || echo "--signal=B:USR1@$value"
  if is_array "$1"; then
    value=$(array_of "$1")
    [[ -z $value ]] || echo "--array=$value"
  fi
  read -r -a words <<<"$(kind_setting "$1" sbatch)"
  [[ ${#words[@]} == 0 ]] || printf '%s\n' "${words[@]}"
}
