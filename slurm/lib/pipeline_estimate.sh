# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What --dry-run can know of a stage beforehand, as lines that begin with "# estimate:". Trainings are asked with
# run.memory_plan; everything else tells more in its log once it has its inputs.

print_estimate() { # stage
  case ${kind_of[$1]} in
    shard) estimate_shards ;;
    train | diffusion) estimate_training "$1" ;;
    dump) estimate_dump "$1" ;;
    probe) estimate_probe "$1" ;;
    report) echo "seconds on one core" ;;
  esac | sed 's/^/# estimate: /'
}

bytes_in_words() { numfmt --to=iec-i --suffix=B --format=%.1f "${1%.*}"; }

# The shares are those by which lsd_shard_uniref50 warns: compressed protein text is about half of the text.
estimate_shards() {
  local file files total=0 most=0 size where="over all ranks together"
  mapfile -t files < <(fasta_files)
  [[ ${#files[@]} != 0 ]] || { echo "its log tells it: no files are named here" && return; }
  for file in "${files[@]}"; do
    size=$(stat -L -c %s "$file" 2>/dev/null) || { echo "no file $file here" && return; }
    total=$((total + size))
    case $file in
      *.gz | *.zst) most=$((most + size * 18 / 10)) where="that of a compressed file on the one rank that reads it" ;;
      *) most=$((most + size * 9 / 10)) ;;
    esac
  done
  echo "$(bytes_in_words "$total") of input; up to about $(bytes_in_words "$most") of shards, and as much memory, $where"
}

# The config file that the stage's script will take; nothing for kinds that need none.
stage_config() { # stage
  local config variant=${variant_of[$1]}
  config=$(kind_setting "$1" config)
  if [[ -n $config ]]; then
    echo "${config//'{variant}'/$variant}"
  else
    case ${kind_of[$1]} in
      train) echo "configs/$variant.cfg" ;;
      diffusion) echo "configs/diffusion_$variant.cfg" ;;
    esac
  fi
}

# Ranks, from the pipeline file, the site file or the #SBATCH lines of the script.
planned_ranks() { # stage
  local nodes per_node
  nodes=$(kind_setting "$1" nodes "$(sed -n 's/^#SBATCH.* --nodes=\([0-9]*\).*/\1/p' "$(script_of "$1")")")
  per_node=$(ranks_per_node "$1")
  [[ -n $per_node ]] || per_node=$(sed -n 's/^#SBATCH.* --ntasks-per-node=\([0-9]*\).*/\1/p' "$(script_of "$1")")
  echo $((nodes * per_node))
}

# The stage's program with its config and options; asked for what needs no data.
ask_training() { # stage option...
  local stage=$1 program=lsd_train_autoencoder options=() words
  if [[ ${kind_of[$stage]} == diffusion ]]; then
    program=lsd_train_diffusion
    options=(--latents.autoencoder "$(stage_config "train_${variant_of[$stage]}")")
  fi
  read -r -a words <<<"$(kind_setting "$stage" options)"
  program=$(program_path "$program" 2>/dev/null) || { echo "no $program here to ask" && return 1; }
  LSD_TFLOPS='' "${LSD_WRAPPER[@]}" "$program" --config "$(stage_config "$stage")" "${options[@]}" "${words[@]}" --run.directory - "${@:2}"
}

estimate_training() { # stage
  local text ranks
  [[ ${kind_of[$1]} != diffusion || ${setting[latents]} == recompute ]] || { echo "its log tells it, when the dump is there" && return; }
  ranks=$(planned_ranks "$1")
  text=$(ask_training "$1" --run.memory_plan true --run.memory_plan_ranks "$ranks" 2>&1) || { tail -n 1 <<<"$text" && return; }
  # Each line of a program's log begins with date and time.
  sed -n 's/^[-0-9]* [:0-9]* estimate: //p' <<<"$text" | sed 's/; the time follows.*//'
  estimate_training_time "$(sed -n 's/.*; \([0-9.e+]*\) operations.*/\1/p' <<<"$text")" "$ranks"
}

estimate_training_time() { # operations ranks
  if [[ -z ${LSD_TFLOPS:-} ]]; then
    echo "time: set LSD_TFLOPS in the site file, what one rank sustains"
  else
    awk -v operations="$1" -v ranks="$2" -v tflops="$LSD_TFLOPS" 'BEGIN {
      printf "%.1f hours at %s TFLOP/s on each of %d ranks\n", operations / (tflops * 1e12 * ranks) / 3600, tflops, ranks}'
  fi
}

estimate_dump() { # stage
  local tokens width jobs
  jobs=$(kind_setting "$1" jobs 1)
  if [[ ${setting[latents]} == recompute ]]; then
    echo "kilobytes of moments in each part; the encoder runs once over all tokens on $jobs x $(planned_ranks "$1") ranks"
    return
  fi
  width=$(latent_width "${variant_of[$1]}")
  tokens=$(sed -n 's/.*"residues": *\([0-9]*\).*/\1/p' "$run_folder/shard/manifest.json" 2>/dev/null | sort -n | tail -n 1)
  if [[ -n $width && -n $tokens ]]; then
    echo "up to about $(bytes_in_words $((2 * width * tokens))) of latents in float16"
  else
    echo "$((2 * ${width:-0})) bytes for each token in float16; its log tells more"
  fi
}

# The width of a variant's latents, from the config of its training.
latent_width() { # variant
  local program
  program=$(program_path lsd_train_autoencoder 2>/dev/null) || return 0
  "${LSD_WRAPPER[@]}" "$program" --config "$(stage_config "train_$1")" --run.directory - --print-config 2>/dev/null | config_value model width
}

planned_units() {
  export LSD_PROBE_TASKS=${setting[probe.tasks]} LSD_PROBE_TIMES=${setting[probe.times]:-}
  export LSD_PROBE_REPRESENTATIONS=${setting[probe.representations]:-}
  list_probe_units
}

estimate_probe() { # stage
  local units
  units=$(planned_units 2>&1) || { tail -n 1 <<<"$units" && return; }
  echo "$(wc -l <<<"$units") units for $(kind_setting "$1" jobs 4) members; each tells its time when it has begun"
}

# Told when the run is submitted: the probes come last, maybe days later. Sets wanted_units for asks_for_more.
wanted_units=""
warn_of_missing_tables() {
  local table
  [[ -n ${setting[probe.tasks]:-} ]] && (program_path lsd_probe) >/dev/null 2>&1 || return 0
  wanted_units=$(planned_units) || exit 1
  [[ -n $wanted_units ]] || return 0
  cut -f 3 <<<"$wanted_units" | sort -u | while read -r table; do
    [[ -e $table ]] || say "no table $table of probe.tasks: put it there before the probes begin (LSD_TASKS is ${LSD_TASKS:-not set})"
  done
}

# Whether the file names units of a sweep that its list has not, such as those of a task added since. Unknown, so no, where
# there is no lsd_probe to ask.
asks_for_more() { # stage
  [[ ${kind_of[$1]} == probe && -n $wanted_units && -e $run_folder/jobs/$1.list ]] || return 1
  grep -qvxF -f <(cut -f 1 "$run_folder/jobs/$1.list") <(cut -f 1 <<<"$wanted_units")
}

# As stage_state; `outgrown` is a sweep that is done, but for units that the file asks for by now.
planned_state() { # stage
  local state
  state=$(stage_state "$1")
  [[ $state != "done" ]] || ! asks_for_more "$1" || state=outgrown
  echo "$state"
}
