#!/usr/bin/env bash
# Runs a gyre command as a job of PBS Pro or OpenPBS.
#
#     qsub -l select=4:ncpus=8 -v GYRE_COMMAND="attend qkv.safetensors --causal" Launch/pbs.sh
#
# Every chunk is a rank, or every mpiproc where chunks have several. Launch/pbs.sh --help says more.
#PBS -N gyre
#PBS -j oe
#PBS -r y
set -euo pipefail

# shellcheck disable=SC2034  # read by setup.sh
me=Launch/pbs.sh

# PBS runs a copy of this file in a folder of its own: the package has to be looked for.
package=
for folder in "${GYRE_HOME-}" "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." \
  "${PBS_O_WORKDIR-}"; do
  if [[ -n $folder && -f $folder/Launch/lib/batch.sh ]]; then package=$folder && break; fi
  [[ -z ${GYRE_HOME-} ]] || break
done
if [[ -z $package ]]; then
  if [[ -n ${GYRE_HOME-} ]]; then
    echo "$me: GYRE_HOME names '$GYRE_HOME', which is not Gyre's folder as this host sees it; set it to the folder that has Launch in it." >&2
  else
    echo "$me: cannot find Gyre's folder from '${PBS_O_WORKDIR-$PWD}'; submit from it, or name it with: qsub -v GYRE_HOME=/path/to/gyre,GYRE_COMMAND=..." >&2
  fi
  exit 64
fi
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
source "$package/Launch/lib/setup.sh"
# shellcheck source-path=SCRIPTDIR source=lib/job.sh
source "$root/Launch/lib/job.sh"
# shellcheck source-path=SCRIPTDIR source=lib/cores.sh
source "$root/Launch/lib/cores.sh"
# shellcheck source-path=SCRIPTDIR source=lib/batch.sh
source "$root/Launch/lib/batch.sh"

usage() {
  cat <<'END'
Usage: qsub [QSUB OPTION...] -v GYRE_COMMAND="COMMAND..." Launch/pbs.sh
       qsub [QSUB OPTION...] -- /path/to/Launch/pbs.sh COMMAND...
       PBS_NODEFILE=FILE Launch/pbs.sh --dry-run COMMAND...

Runs `gyre COMMAND...` in the folder that the job was submitted from, and exits with its exit code. gyre
has to be built, in a folder that all hosts share. Quotes in GYRE_COMMAND are as in a shell; commas have
to be escaped for qsub.

There is a rank for each line of PBS_NODEFILE: one for each chunk, or as many as mpiprocs says. A job
with one chunk on each host, which it has whole, has one for each node of the host's memory (as many as
the first host has). Ranks use all CPUs that the job has: where PBS does not keep processes to theirs, as
many as NCPUS says (that of a chunk), divided by its mpiprocs.

A job that is deleted, preempted or runs out of time ends in order, with exit code 75: gyre stream
keeps its checkpoint and the same job goes on from there; an unfinished output is removed.

  --dry-run   print the mpirun line, and run nothing
  --help      print this

Environment:
  GYRE_HOME     Gyre's folder, where it is not the one that the job was submitted from
  GYRE_BINARY   run this executable
END
}

dry_run=false
case ${1-} in
  -h | --help) usage && exit ;;
  --dry-run) dry_run=true && shift ;;
  -n | -np) refuse "ranks are the mpiprocs of the job; give them to qsub, as in -l select=2:mpiprocs=8." ;;
  -*) refuse "there is no option '$1' before the command; see $me --help." ;;
esac
command=("$@")
if ((${#command[@]} == 0)) && [[ -n ${GYRE_COMMAND-} ]]; then
  words=$(xargs printf '%q ' <<<"$GYRE_COMMAND" 2>/dev/null) ||
    refuse "the quotes in GYRE_COMMAND do not match: $GYRE_COMMAND"
  eval "command=($words)" # %q has made words of it that hold nothing to be carried out
fi
((${#command[@]})) ||
  refuse "say what to run, as in: qsub -l select=2:ncpus=8:mpiprocs=8 -v GYRE_COMMAND=\"attend ...\" $me"
refuse_program "${command[@]}"
[[ -n ${PBS_NODEFILE-} ]] ||
  refuse "PBS_NODEFILE is not set; submit this script with qsub, or name a file with a host a line in it for --dry-run."
mapfile -t lines < <(grep -v '^[[:space:]]*$' -- "$PBS_NODEFILE" 2>/dev/null || true)
((${#lines[@]})) ||
  refuse "PBS_NODEFILE names '$PBS_NODEFILE', in which there are no hosts."

# The first host is this one. In a part of a host, PBS's own limits keep ranks in place, or nothing.
ranks_here=$(printf '%s\n' "${lines[@]}" | grep -c -x -F -e "${lines[0]}")
ranks=${#lines[@]}
hosts=$(printf '%s\n' "${lines[@]}" | sort -u | wc -l)
find_threads "${command[@]}"
count_cores
granted=$cores
if [[ ${NCPUS-} =~ ^[1-9][0-9]*$ ]] && ((NCPUS < $(nproc))); then
  cpus=$(getconf _NPROCESSORS_ONLN)
  granted=$((NCPUS * cores / (cpus > cores ? cpus : cores)))
  if ((granted == 0)); then granted=1; fi
  whole=false
  threads=${threads:-$((granted > ranks_here ? granted / ranks_here : 1))}
  add_threads "$threads"
fi
if [[ -n $threads ]] && ((ranks_here * threads < cores)); then whole=false; fi
oversubscribe=()
if $whole && [[ -z $threads ]] && ((ranks == hosts && nodes > 1)); then
  ranks_here=$nodes
  ranks=$((hosts * nodes))
  oversubscribe=(--oversubscribe)
fi
bind_ranks "$ranks_here" "$threads" "$cores" "$whole"

find_gyre
start_line
# An Open MPI that was built with PBS's library starts its daemons by that; any other through PBS's
# stand-in for ssh, which keeps what it starts within the job.
if have pbs_tmrsh; then line+=(--mca plm_rsh_agent pbs_tmrsh); fi
line+=("${oversubscribe[@]}" "${placement[@]}" --hostfile "$PBS_NODEFILE" -n "$ranks" "$binary" "${command[@]}")
if $dry_run; then
  print_line "${line[@]}"
  exit
fi

require_open_mpi
raise_open_files "$ranks_here" "$hosts"
require_built
if [[ -n ${PBS_O_WORKDIR-} ]]; then cd -- "$PBS_O_WORKDIR"; fi
code=0
run_batch_job "${line[@]}" || code=$?
exit "$code"
