# shellcheck shell=bash
# What jobs of a batch system share: how they end when they are told to. Read after job.sh.

# mpirun hands USR1 on, and ranks die of it; SIGTERM ends them in order.
# shellcheck disable=SC2034  # read by run_job
passed_as+=([USR1]=TERM)

# mpirun gives ranks one second between SIGTERM and SIGKILL, too little to put a checkpoint on a busy
# file system.
export OMPI_MCA_odls_base_sigkill_timeout=${OMPI_MCA_odls_base_sigkill_timeout-5}

# add_threads NUMBER: gives the command, in `command`, --threads NUMBER where it takes them and has none;
# an empty number adds nothing.
add_threads() {
  local word
  [[ -n $1 && ${command[0]} =~ ^(attend|stream|bench)$ ]] || return 0
  [[ ! ${command[0]}\ ${command[1]-} =~ ^bench\ (kernel|link)$ ]] || return 0
  for word in "${command[@]}"; do
    [[ $word != --threads && $word != --threads=* ]] || return 0
  done
  command+=(--threads "$1")
}

# run_batch_job WORD…: runs an mpirun line. A job that is told to stop, by SIGTERM or USR1, tells its
# ranks, which keep their checkpoint and remove an unfinished output, and waits for them; it returns
# 75 (EX_TEMPFAIL: try again) unless they were done all the same. Any other job returns its own code.
run_batch_job() {
  local code=0
  run_job "$@" || code=$?
  # Of what comes while it ends, nothing is news.
  trap '' USR1 TERM
  # shellcheck disable=SC2154  # set by run_job
  if ((code)) && [[ $told == USR1 || $told == TERM ]]; then
    printf '%s: told to stop by SIG%s; all ranks have ended.\n' "${me:?}" "$told" >&2
    code=75
  fi
  return "$code"
}
