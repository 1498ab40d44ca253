# shellcheck shell=bash
# What the scripts in Launch share: where the package is, how to fail, what has to be installed,
# how to build. Each script sets `me`, the name it speaks under, before it reads this file.

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/../.." && pwd)

# fail SENTENCE: ends the script because something is missing or has gone wrong.
fail() {
  printf '%s: %s\n' "${me:?}" "$1" >&2
  exit 1
}

# refuse SENTENCE: ends the script because of its arguments (64 is EX_USAGE, gyre's own code too).
refuse() {
  printf '%s: %s\n' "${me:?}" "$1" >&2
  exit 64
}

# have COMMAND: whether there is such a command.
have() {
  command -v -- "$1" >/dev/null
}

# swift_obstacle: prints in a sentence what keeps this user from building here; nothing where nothing
# does.
swift_obstacle() {
  if ! have swift; then
    echo "no Swift toolchain found; install Swift 6.3 or newer from https://www.swift.org/install/linux and put it on PATH."
    return
  fi
  local version
  version=$(swift --version 2>&1 || true)
  if ! [[ $version =~ Swift\ version\ ([0-9]+)\.([0-9]+) ]]; then
    echo "'swift --version' does not work (${version%%$'\n'*}); install the toolchain and what it needs as https://www.swift.org/install/linux says."
    return
  fi
  local major=${BASH_REMATCH[1]} minor=${BASH_REMATCH[2]} folder=$root
  if ((major < 6 || (major == 6 && minor < 3))); then
    echo "Swift $major.$minor is too old; install Swift 6.3 or newer from https://www.swift.org/install/linux."
    return
  fi
  if [[ -d $root/.build ]]; then folder=$root/.build; fi
  if [[ ! -w $folder ]]; then
    echo "'$folder' is not yours to write; build there as its owner, or use a copy of your own."
  fi
}

require_swift() {
  local obstacle
  obstacle=$(swift_obstacle)
  [[ -z $obstacle ]] || fail "$obstacle"
}

# The options in Launch/local are Open MPI's: another MPI's mpirun would take them for mistakes.
require_open_mpi() {
  have mpirun || fail "mpirun not found; install it with: apt-get install openmpi-bin libopenmpi-dev"
  [[ $(mpirun --version 2>/dev/null || true) == *"Open MPI"* ]] ||
    fail "the mpirun on PATH is not Open MPI's; choose it with: update-alternatives --config mpirun"
}

# Installs the packages that are missing. Asks for what they provide, not for their names, so an
# Open MPI that came some other way counts; SwiftPM finds it through pkg-config.
install_missing_packages() {
  local missing=()
  have mpirun || missing+=(openmpi-bin)
  have pkg-config || missing+=(pkg-config)
  if ! have pkg-config || ! pkg-config --exists ompi-c; then
    missing+=(libopenmpi-dev)
  fi
  ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# Where commands of the system are that users other than root often do not see.
system_folders=:/usr/sbin:/sbin

# services_start: whether a server that is installed is started at once.
services_start() {
  [[ -d /run/systemd/system ]]
}

# Installs the packages that only tests need, as far as it can; tests without theirs are skipped.
install_test_packages() {
  local missing=() servers=() PATH=$PATH$system_folders
  have ip && have tc || missing+=(iproute2)
  have gnuplot || missing+=(gnuplot-nox)
  python3 -c 'import yaml' 2>/dev/null || /usr/bin/python3 -c 'import yaml' 2>/dev/null ||
    missing+=(python3-yaml)
  have slurmctld && have slurmd && have sbatch || servers+=(slurm-wlm)
  have munged || servers+=(munge)
  have sshd || servers+=(openssh-server)
  have ssh-keygen || missing+=(openssh-client)
  python3 -c 'import numpy' 2>/dev/null || /usr/bin/python3 -c 'import numpy' 2>/dev/null ||
    missing+=(python3-numpy)
  if ((${#servers[@]})) && services_start; then
    printf '%s: not installing %s, which would start services here; the tests that need them are skipped.\n' \
      "$me" "${servers[*]}" >&2
  else
    missing+=("${servers[@]}")
  fi
  ((${#missing[@]} == 0)) || (install_packages "${missing[@]}") ||
    printf '%s: the tests that need %s are skipped.\n' "$me" "${missing[*]}" >&2
}

# install_plot_packages: installs what gyre plot starts, as far as it can; everything else works without.
install_plot_packages() {
  have gnuplot || (install_packages gnuplot-nox) ||
    printf '%s: gyre plot draws nothing until gnuplot is installed.\n' "${me:?}" >&2
}

# install_packages NAME…: installs Debian's or Ubuntu's packages of these names.
install_packages() {
  local install="apt-get install -y --no-install-recommends $*"
  have apt-get || fail "this machine lacks what Debian calls $*; install it and run again."
  local as_root=()
  if (($(id -u) != 0)); then
    # Without a terminal nobody can answer sudo's question for a password.
    if ! have sudo || { [[ ! -t 0 ]] && ! sudo -n true 2>/dev/null; }; then
      fail "some packages are missing; as root, run: apt-get update && $install"
    fi
    as_root=(sudo)
  fi

  printf '%s: installing %s\n' "$me" "$*" >&2
  local log
  log=$(mktemp)
  if ! { "${as_root[@]}" apt-get update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
    tail -n 20 -- "$log" >&2
    rm -f -- "$log"
    fail "could not install $*: the last lines of apt-get are above; then run again."
  fi
  rm -f -- "$log"
}

# build OPTION…: builds for release. Progress is for people: without a terminal the
# compiler's output is shown only if it fails. Standard output stays free for the job's report.
build() {
  local failure="the build failed; what the compiler said is above."
  # Where nobody has said where home is, SwiftPM ends in a crash.
  if [[ -z ${HOME-} ]]; then
    HOME=$(getent passwd "$(id -u)" | cut -d: -f6 || true)
    export HOME=${HOME:-$root/.build}
  fi
  # Colours are a compiler flag, which would build everything anew whenever a terminal comes or goes.
  local command=(swift build --package-path "$root" -c release --no-color-diagnostics "$@")
  if [[ -t 2 ]]; then
    "${command[@]}" >&2 || fail "$failure"
    return
  fi
  local log
  log=$(mktemp)
  if ! "${command[@]}" >"$log" 2>&1 </dev/null; then
    cat -- "$log" >&2
    rm -f -- "$log"
    fail "$failure"
  fi
  rm -f -- "$log"
}

# newer_source TEST: prints a source that is newer than the built gyre by a test of find; nothing where
# none is.
newer_source() {
  local manifest=$root/.build/release.yaml
  # Against the start of the last build too, during which a source can have been edited. A folder is
  # newer where something in it has been removed or renamed.
  local stamps=("$1" "$binary")
  if [[ -f $manifest ]]; then stamps+=(-o "$1" "$manifest"); fi
  find "$root/Package.swift" "$root/Sources" \( "${stamps[@]}" \) -print -quit 2>/dev/null || true
}

# build_gyre: builds what `find_gyre` has found, unless it is somebody else's or there is nothing to do.
build_gyre() {
  [[ -z ${GYRE_BINARY-} ]] || return 0
  # No source has been touched since, not even by a copy that keeps its time.
  if [[ -x $binary && -z $(newer_source -cnewer) ]]; then return; fi
  local obstacle newer
  obstacle=$(swift_obstacle)
  if [[ -z $obstacle ]]; then
    local quietly=()
    if [[ -x $binary ]]; then quietly=(--quiet); fi
    printf '%s: building gyre\n' "${me:?}" >&2
    build "${quietly[@]}" --product gyre
    return
  fi
  [[ -x $binary ]] || fail "gyre is not built, and cannot be: $obstacle"
  # What has been copied here with its times can be as it was built.
  newer=$(newer_source -newer)
  [[ -z $newer ]] ||
    fail "gyre is older than what it is built from (${newer%%$'\n'*}), and cannot be built: $obstacle"
}
