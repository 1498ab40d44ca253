# shellcheck shell=bash disable=SC2034
# How ranks meet cores: what a host has, what a command asks for, and mpirun's options for it. Read
# after setup.sh.

# count_cores: sets `cores`, how many cores this process may use, and `whole`, whether they are all
# there are.
#
# mpirun places a rank by hardware core, whatever the hardware threads and the affinity say, so
# cores are counted here and not what nproc counts.
count_cores() {
  if [[ -n ${GYRE_CORES-} ]]; then
    [[ $GYRE_CORES =~ ^[1-9][0-9]{0,5}$ ]] ||
      refuse "GYRE_CORES has to be a whole number of cores, at least 1, not '$GYRE_CORES'."
    cores=$GYRE_CORES
    whole=true
    return
  fi

  local allowed
  allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
  # A machine that does not tell its topology leaves the second column empty: then a CPU is a core.
  read -r cores whole < <(
    lscpu -p=CPU,CORE 2>/dev/null | awk -F, -v allowed="$allowed" '
      BEGIN {
        count = split(allowed, runs, ",")
        for (i = 1; i <= count; i++) {
          bounds = split(runs[i], ends, "-")
          for (cpu = ends[1]; cpu <= ends[bounds]; cpu++) may[cpu + 0] = 1
        }
        whole = "true"
      }
      /^#/ { next }
      !($1 + 0 in may) { whole = "false"; next }
      { core = $2 == "" ? "cpu" $1 : $2; if (!(core in seen)) { seen[core] = 1; cores++ } }
      END { print cores + 0, whole }'
  )
  if ((cores == 0)); then # a sandbox without /sys
    cores=$(nproc)
    whole=false
  fi

  # A container's share of processor time can be less than the cores that it sees.
  local quota period share
  if [[ -r /sys/fs/cgroup/cpu.max ]] && read -r quota period </sys/fs/cgroup/cpu.max &&
    [[ $quota != max ]]; then
    share=$(((quota + period - 1) / period))
    if ((share < cores)); then
      cores=$share
      whole=false
    fi
  fi
}

# find_threads ARGUMENT...: sets `threads` to the value of --threads among them, or of GYRE_THREADS;
# empty where there is none. gyre itself judges its arguments: what is no number here counts as one
# thread. What a settings file says is not looked at: there may be no gyre yet that could read it.
find_threads() {
  local argument value previous=
  threads=
  if [[ ${GYRE_THREADS-} =~ ^[1-9][0-9]{0,5}$ ]]; then threads=$GYRE_THREADS; fi
  for argument in "$@"; do
    value=
    if [[ $previous == --threads ]]; then value=$argument; fi
    if [[ $argument == --threads=* ]]; then value=${argument#--threads=}; fi
    if [[ $previous == --threads || $argument == --threads=* ]]; then
      if [[ $value =~ ^[1-9][0-9]{0,5}$ ]]; then threads=$value; else threads=1; fi
    fi
    previous=$argument
  done
}

# bind_ranks RANKS THREADS CORES MAY: sets `placement`, mpirun's options for ranks of so many threads
# that share a host's cores; MAY is whether they may be bound where they fit.
bind_ranks() {
  if (($1 * $2 > $3)); then
    placement=(--bind-to none --mca mpi_yield_when_idle 1)
  elif $4; then
    # PE=T binds a rank to T cores where that is allowed, and warns and goes on where it is not, as
    # in some containers; `--bind-to core` would end the job there.
    placement=(--map-by "slot:PE=$2")
  else
    placement=(--bind-to none)
  fi
}
