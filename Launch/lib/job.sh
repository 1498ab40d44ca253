# shellcheck shell=bash
# What the scripts that start a job share: which gyre it runs, and mpirun from its start to its exit
# code. Read after setup.sh.

# mpirun copies its standard input to rank 0. If that is closed it takes the next thing it opens
# for it, one of its own pipes, and waits for ever.
if [[ ! -e /proc/$$/fd/0 ]]; then exec </dev/null; fi

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

# build_gyre: builds what `find_gyre` has found, unless it is somebody else's.
build_gyre() {
  [[ -z ${GYRE_BINARY-} ]] || return 0
  require_swift
  local quietly=()
  if [[ -x $binary ]]; then quietly=(--quiet); fi
  build "${quietly[@]}" --product gyre
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
      refuse "leave '$1' out: the command alone follows the options, as in: $me ... ${2:-attend} ..."
      ;;
  esac
}

# start_line: sets `line` to mpirun and what the user needs to be allowed to run it.
start_line() {
  line=(mpirun)
  if (($(id -u) == 0)); then line+=(--allow-run-as-root); fi
}

# print_line WORD…: prints a command as a shell would read it.
print_line() {
  local quoted
  printf -v quoted '%q ' "$@"
  printf '%s\n' "${quoted% }"
}

# What a signal becomes on its way to mpirun, where that is another one.
declare -A passed_as=()

# run_job WORD…: runs an mpirun line and returns its exit code. mpirun's own messages are shortened,
# and signals that this script gets are passed on to it; the last one is then in `told`.
run_job() {
  told=
  # mpirun runs beside this script, which passes signals on and waits for the last line of stderr.
  local errors filter job signal code=0
  exec {errors}> >(
    trap '' HUP INT TERM USR1 USR2
    exec sed --unbuffered --file="$root/Launch/lib/mpirun-messages.sed" >&2
  )
  filter=$!
  "$@" <&0 2>&"$errors" {errors}>&- &
  job=$!
  exec {errors}>&-
  for signal in HUP INT TERM USR1 USR2; do
    # shellcheck disable=SC2064  # the values of now
    trap "told=$signal; kill -s ${passed_as[$signal]-$signal} $job 2>/dev/null || true" "$signal"
  done

  wait "$job" || code=$?
  while kill -0 "$job" 2>/dev/null; do
    code=0
    wait "$job" || code=$?
  done
  wait "$filter" || true

  # mpirun says which rank it was, but not always: a rank that dies early can go unmentioned.
  if [[ -z $told ]] && ((code > 128)) && signal=$(kill -l "$code" 2>/dev/null); then
    printf '%s: a rank was killed by SIG%s (exit code %s).\n' "${me:?}" "$signal" "$code" >&2
  fi
  return "$code"
}
