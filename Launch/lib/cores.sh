# shellcheck shell=bash disable=SC2034
# How ranks meet cores: what a host has, what a command asks for, and mpirun's options for it. Read
# after setup.sh.

# count_cores: sets `cores`, how many cores this process may use, `whole`, whether they are all there
# are, and `nodes`, how many nodes of the machine's memory (NUMA) they belong to, never more than
# there are cores.
#
# mpirun places a rank by hardware core, whatever the hardware threads and the affinity say, so
# cores are counted here and not what nproc counts.
count_cores() {
  if [[ -n ${GYRE_CORES-} ]]; then
    [[ $GYRE_CORES =~ ^[1-9][0-9]{0,5}$ ]] ||
      refuse "GYRE_CORES has to be a whole number of cores, at least 1, not '$GYRE_CORES'."
    cores=$GYRE_CORES
    nodes=1
    whole=true
    return
  fi

  local allowed
  allowed=$(sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status)
  # A machine that does not tell its topology leaves columns empty: then a CPU is a core.
  read -r cores whole nodes < <(
    lscpu -p=CPU,CORE,NODE 2>/dev/null | awk -F, -v allowed="$allowed" '
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
      { if (!($3 in near)) { near[$3] = 1; nodes++ } }
      END { print cores + 0, whole, nodes + 0 }'
  )
  if ((cores == 0)); then # a sandbox without /sys
    cores=$(nproc)
    nodes=1
    whole=false
  fi

  # A container's share of processor time can be less than the cores that it sees. Of the groups above
  # its own it sees nothing, and outside of containers gyre itself looks at them.
  local quota='' period='' share group=/sys/fs/cgroup
  if [[ -r $group/cpu.max ]]; then
    read -r quota period <$group/cpu.max || true
  elif [[ -r $group/cpu/cpu.cfs_quota_us && -r $group/cpu/cpu.cfs_period_us ]]; then
    quota=$(<$group/cpu/cpu.cfs_quota_us)
    period=$(<$group/cpu/cpu.cfs_period_us)
  fi
  if [[ $quota =~ ^[1-9][0-9]*$ && $period =~ ^[1-9][0-9]*$ ]]; then
    share=$(((quota + period - 1) / period))
    if ((share < cores)); then
      cores=$share
      whole=false
    fi
  fi
  if ((nodes > cores)); then nodes=$cores; fi
}

# find_threads ARGUMENT...: sets `threads` to the value of --threads among them, or of GYRE_THREADS;
# empty where there is none, or `auto`. gyre itself judges its arguments: what else is no number here
# counts as one thread. What a settings file says is not looked at: there may be no gyre yet that
# could read it.
find_threads() {
  local argument previous=
  threads=${GYRE_THREADS:-auto}
  for argument in "$@"; do
    if [[ $previous == --threads ]]; then threads=$argument; fi
    if [[ $argument == --threads=* ]]; then threads=${argument#--threads=}; fi
    previous=$argument
  done
  if [[ $threads == auto ]]; then
    threads=
  elif [[ ! $threads =~ ^[1-9][0-9]{0,5}$ ]]; then
    threads=1
  fi
}

# Ranks that divide what they may use among themselves (--threads auto), each near a node of its host's
# memory, and as few as can be near the same one. A host with one node binds nothing.
near_memory=(--map-by slot --bind-to numa:if-supported)

# bind_ranks RANKS THREADS CORES MAY: sets `placement`, mpirun's options for ranks of so many threads
# that share a host's cores; MAY is whether they may be bound where they fit. Without a number of
# threads ranks divide the cores.
bind_ranks() {
  if (($1 * ${2:-1} > $3)); then
    placement=(--bind-to none --mca mpi_yield_when_idle 1)
  elif $4 && [[ -z $2 ]]; then
    placement=("${near_memory[@]}")
  elif $4; then
    # PE=T binds a rank to T cores where that is allowed, and warns and goes on where it is not, as
    # in some containers; `--bind-to core` would end the job there.
    placement=(--map-by "slot:PE=$2")
  else
    placement=(--bind-to none)
  fi
}
