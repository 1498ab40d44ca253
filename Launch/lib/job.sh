# shellcheck shell=bash
# What the scripts that start a job share: which gyre it runs, and mpirun from its start to its exit
# code. Read after setup.sh.

# mpirun copies its standard input to rank 0. If that is closed it takes the next thing it opens
# for it, one of its own pipes, and waits for ever.
if [[ ! -e /proc/$$/fd/0 ]]; then exec </dev/null; fi

# A host whose cable is pulled out would be noticed after minutes, and its silence unexplained: mpirun asks
# the kernels of hosts that are silent for 20 s, which answer however busy ranks are, five times.
export OMPI_MCA_oob_tcp_keepalive_time=${OMPI_MCA_oob_tcp_keepalive_time-20}
export OMPI_MCA_oob_tcp_keepalive_intvl=${OMPI_MCA_oob_tcp_keepalive_intvl-5}
export OMPI_MCA_oob_tcp_keepalive_probes=${OMPI_MCA_oob_tcp_keepalive_probes-5}

# Behind the filter of run_job gyre cannot see by itself that somebody watches.
if [[ -t 2 ]]; then export GYRE_PROGRESS=1; fi

# find_gyre: sets `binary` to the gyre to run, which need not be built yet.
find_gyre() {
  binary=${root:?}/.build/release/gyre
  if [[ -n ${GYRE_BINARY-} ]]; then
    [[ -f $GYRE_BINARY && -x $GYRE_BINARY ]] ||
      refuse "GYRE_BINARY names '$GYRE_BINARY', which is no executable file; build it or unset GYRE_BINARY."
    binary=$(readlink -f -- "$GYRE_BINARY")
  fi
}

# require_built: ends the script unless gyre is there; a job's hosts need not be able to build it.
require_built() {
  [[ -x $binary ]] ||
    fail "gyre is not built in '$root'; on a host with a Swift toolchain run there: swift build -c release --product gyre"
}

# refuse_program WORD...: ends the script if the command begins with the program's own name, as after
# mpirun; other mistakes in it are for gyre to name.
refuse_program() {
  case $1 in
    gyre | */gyre)
      refuse "leave '$1' out: the command alone follows the options, as in: ${me:?} ... ${2:-attend} ..."
      ;;
  esac
}

# start_line: sets `line` to mpirun and what the user needs to be allowed to run it.
start_line() {
  line=(mpirun)
  if (($(id -u) == 0)); then line+=(--allow-run-as-root); fi
}

# in_batch_system: whether mpirun would take hosts and slots from a batch system, or from settings of
# the same.
in_batch_system() {
  # What Open MPI's components look for.
  local variable
  for variable in SLURM_JOBID SLURM_JOB_ID SLURM_NODELIST PBS_JOBID PBS_ENVIRONMENT LSB_JOBID \
    PE_HOSTFILE LOADL_STEP_ID OMPI_BATCH_PARTITION_ID BATCH_PARTITION_ID \
    OMPI_MCA_ras OMPI_MCA_plm OMPI_MCA_hostfile OMPI_MCA_orte_default_hostfile; do
    [[ -z ${!variable-} ]] || return 0
  done
  return 1
}

# mpirun's options for jobs that have hosts of their own, also in a batch system.
# shellcheck disable=SC2034  # read by those
own_hosts=(
  --mca ras "^alps,gridengine,loadleveler,lsf,simulator,slurm,tm"
  --mca orte_default_hostfile none
)

# raise_open_files RANKS HOSTS: lets mpirun open what it needs for so many ranks of this host and for
# other hosts, or ends the script: where a pipe is missing, Open MPI hangs.
#
# Open MPI 4.1 has 4 open for a rank at its start and 27 of its own; ssh to a host takes up to 4.
raise_open_files() {
  local needed=$((4 * $1 + 4 * $2 + 64)) soft hard
  soft=$(ulimit -S -n)
  hard=$(ulimit -H -n)
  if [[ $soft == unlimited ]] || ((soft >= needed)); then return; fi
  [[ $hard == unlimited ]] || ((hard >= needed)) ||
    fail "mpirun needs $needed open files for $1 ranks on this host, and may have $hard (ulimit -H -n); start fewer, or let root raise the limit in /etc/security/limits.conf."
  ulimit -S -n "$needed"
}

# print_line WORD…: prints a command as a shell would read it.
print_line() {
  local quoted
  printf -v quoted '%q ' "$@"
  printf '%s\n' "${quoted% }"
}

# remove_session PID: removes the folder that an mpirun of this number has left, if it was killed.
remove_session() {
  local folder
  for folder in "${TMPDIR:-/tmp}"/ompi.*."$(id -u)/pid.$1"; do
    if [[ -O $folder ]]; then rm -rf -- "$folder"; fi
  done
}

# What a signal becomes on its way to mpirun, where that is another one. mpirun does not hear SIGQUIT.
declare -A passed_as=([QUIT]=TERM)

# run_beside WORD…: runs a command and returns its exit code. mpirun's own messages are shortened, and
# signals that this script gets are passed on to it. Sets `told` to the last of those, `job` to its
# process and `killed` to the shell's own word for the signal that ended it.
#
# The command has a process group of its own: a terminal would send Ctrl-C to it as well as to this
# script, and mpirun takes the second for the order to leave everything as it is.
run_beside() {
  told=
  killed=
  # mpirun runs beside this script, which passes signals on and waits for the last line of stderr.
  local errors filter signal code=0
  exec {errors}> >(
    trap '' HUP INT QUIT TERM USR1 USR2
    exec sed --unbuffered --file="$root/Launch/lib/mpirun-messages.sed" >&2
  )
  filter=$!
  # Until the end stderr takes the shell's own word for a command that a signal has ended: mpirun's exit
  # code does not tell its own death from a rank's.
  local note terminal
  note=$(mktemp 2>/dev/null) || note=
  exec {terminal}>&2 2>"${note:-/dev/null}"
  set -m
  "$@" <&0 2>&"$errors" {errors}>&- {terminal}>&- &
  job=$!
  set +m
  exec {errors}>&-
  for signal in HUP INT QUIT TERM USR1 USR2; do
    # shellcheck disable=SC2064  # the values of now
    trap "told=$signal; kill -s ${passed_as[$signal]-$signal} $job 2>/dev/null || true" "$signal"
  done

  # Ctrl-Z stops mpirun with this script, and `fg` or `bg` lets both go on.
  trap 'kill -s TSTP "$job" 2>/dev/null || true; kill -s STOP $$; kill -s CONT "$job" 2>/dev/null || true' TSTP

  wait "$job" || code=$?
  while kill -0 "$job" 2>/dev/null; do
    code=0
    wait "$job" || code=$?
  done
  exec 2>&"$terminal" {terminal}>&-
  if [[ -n $note ]]; then
    killed=$(<"$note")
    rm -f -- "$note"
  fi
  wait "$filter" || true
  trap - TSTP
  return "$code"
}

# run_job WORD…: runs an mpirun line beside this script, returns its exit code and explains it; leaves
# `told` set.
run_job() {
  local job killed signal code=0
  run_beside "$@" || code=$?
  remove_session "$job"

  # mpirun says which rank it was, but not always: a rank that dies early can go unmentioned.
  if [[ -z $told && -n $killed ]] && signal=$(kill -l "$code" 2>/dev/null); then
    printf '%s: mpirun itself was killed by SIG%s (exit code %s); gyre doctor tries it and says more.\n' \
      "${me:?}" "$signal" "$code" >&2
  elif [[ -z $told ]] && ((code > 128)) && signal=$(kill -l "$code" 2>/dev/null); then
    printf '%s: a rank was killed by SIG%s (exit code %s).\n' "${me:?}" "$signal" "$code" >&2
  fi
  return "$code"
}
