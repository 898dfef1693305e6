# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Reads a pipeline file: lines "key = value", "#" starts a comment. Unknown keys, keys given twice and lines of another
# form are refused with file and line. docs/running_on_slurm.md lists the keys.

declare -A setting=()

pipeline_keys() {
  local kind
  echo run variants fasta latents shard.config train.config diffusion.config
  echo probe.tasks probe.representations probe.times probe.heads probe.seeds probe.jobs probe.jobs_at_once
  echo dump.jobs dump.jobs_at_once
  for kind in shard train dump diffusion probe report; do
    echo "$kind.nodes" "$kind.ranks_per_node" "$kind.gpus_per_node" "$kind.time" "$kind.slices" "$kind.signal_seconds" "$kind.sbatch" \
      "$kind.options"
  done
}

read_pipeline() { # file
  local file=$1 line number=0 key value known
  [[ ! -d $file ]] || die "$file is a folder: name a pipeline file, for example configs/pipelines/nm_m.cfg"
  [[ -r $file ]] || die "cannot read the pipeline file $file"
  known=" $(pipeline_keys | tr '\n' ' ') "
  while IFS= read -r line || [[ -n $line ]]; do
    number=$((number + 1))
    line=${line%%#*}
    [[ -n ${line//[[:space:]]/} ]] || continue
    [[ $line =~ ^[[:space:]]*([a-z_.]+)[[:space:]]*=[[:space:]]*(.*[^[:space:]])[[:space:]]*$ ]] ||
      die "$file:$number: not of the form key = value"
    key=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    [[ $known == *" $key "* ]] || die "$file:$number: unknown key '$key'"
    [[ -z ${setting[$key]+x} ]] || die "$file:$number: '$key' is given twice"
    setting[$key]=$value
  done <"$file"
  check_pipeline "$file"
}

# Slurm's forms: minutes, minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]].
seconds_of() { # time
  local days=0 parts
  [[ $1 =~ ^([0-9]+-)?[0-9]+(:[0-9]+){0,2}$ ]] || return 1
  IFS=: read -r -a parts <<<"${1#*-}"
  if [[ $1 == *-* ]]; then
    days=${1%%-*}
    echo $((10#$days * 86400 + 10#${parts[0]} * 3600 + 10#${parts[1]:-0} * 60 + 10#${parts[2]:-0}))
  elif [[ ${#parts[@]} == 3 ]]; then
    echo $((10#${parts[0]} * 3600 + 10#${parts[1]} * 60 + 10#${parts[2]}))
  else
    echo $((10#${parts[0]} * 60 + 10#${parts[1]:-0}))
  fi
}

# A job whose signal comes at once would stop and requeue itself for ever. To sbatch a time of 0 is no limit.
check_time() { # file kind time whose
  local seconds ahead=${setting[$2.signal_seconds]:-300}
  seconds=$(seconds_of "$3") || die "$1: $2.time = '$3': as sbatch takes it: minutes, hours:minutes:seconds or days-hours"
  ((seconds == 0 || seconds > ahead)) ||
    die "$1: $2.time = '$3'${4:-} is over before it begins: the job is told to stop $ahead s ahead of that; raise it, or lower $2.signal_seconds"
}

check_variants() { # file variants
  local twice
  twice=$(tr -s '[:space:]' '\n' <<<"$2" | sort | uniq -d | head -n 1)
  [[ -z $twice ]] || die "$1: variants = $2: '$twice' is named twice"
}

check_pipeline() {
  local file=$1 key value
  [[ -n ${setting[variants]:-} ]] || die "$file: 'variants' is missing, for example: variants = nm_m"
  LSD_RUN=${setting[run]:-$(basename "$file" .cfg)}
  [[ $LSD_RUN =~ ^[A-Za-z0-9_.-]+$ ]] || die "$file: run = '$LSD_RUN': letters, digits, '_', '-' and '.' only"
  case ${setting[latents]:=recompute} in recompute | stored) ;; *) die "$file: latents = '${setting[latents]}': recompute or stored" ;; esac
  for key in "${!setting[@]}"; do
    value=${setting[$key]}
    case $key in
      *.nodes | *.ranks_per_node | *.slices | *.signal_seconds | *.jobs | *.jobs_at_once)
        [[ $value =~ ^[1-9][0-9]*$ ]] || die "$file: $key = '$value': a whole number from 1"
        ;;
      *.sbatch)
        [[ ! " $value" =~ \ (--time|-t|--signal|--array|-a|--job-name|--output|--dependency)([=\ ]|[0-9]|$) ]] ||
          die "$file: $key: ${BASH_REMATCH[1]} is not for here: use ${key%.sbatch}.time, .signal_seconds, .jobs; names, logs and order are the pipeline's"
        ;;
      variants) check_variants "$file" "$value" ;;
      *.time) check_time "$file" "${key%.time}" "$value" ;;
      *.gpus_per_node) [[ $value =~ ^[0-9]+$ ]] || die "$file: $key = '$value': a whole number from 0" ;;
    esac
  done
  run_folder=$LSD_RUNS/$LSD_RUN
  export LSD_RUN
}
