# shellcheck shell=bash
# The hosts of a hostfile: which there are, and whether a job can start on them. Read after setup.sh.

# The hosts in their order, and for each how many ranks the file gives it room for; empty where it
# does not say.
hosts=()
declare -A slots=()

# visible WORD: prints a word in quotes, what cannot be seen in it as a shell would write it.
visible() {
  local LC_ALL=C
  if [[ $1 =~ ^[[:graph:]]*$ ]]; then printf "'%s'" "$1"; else printf '%q' "$1"; fi
}

# read_hostfile FILE: sets `hosts` and `slots`, or refuses the file.
read_hostfile() {
  local number=0 text word host user
  local -A users=() # "@" and the name
  [[ -f $1 && -r $1 ]] || refuse "--hostfile names '$1', which is no file that can be read."
  while IFS= read -r text || [[ -n $text ]]; do
    number=$((number + 1))
    # What editors of other systems leave: a mark at the beginning, and a second end of each line.
    if ((number == 1)); then text=${text#$'\xEF\xBB\xBF'}; fi
    text=${text%$'\r'}
    read -r -a words <<<"${text%%#*}"
    ((${#words[@]})) || continue
    host=${words[0]}
    [[ $host != *:*:* ]] ||
      refuse "line $number of '$1' has the address $host of IPv6, which Open MPI takes no hosts by; give a name that /etc/hosts or ~/.ssh/config has for it."
    user=
    if [[ $host =~ ^([A-Za-z0-9_][A-Za-z0-9._-]*)@(.*)$ ]]; then
      user=${BASH_REMATCH[1]}
      host=${BASH_REMATCH[2]}
    fi
    users[@$user]=there
    [[ ! $host =~ ^[A-Za-z0-9._-]*_[A-Za-z0-9._-]*$ ]] ||
      refuse "line $number of '$1' names $host, and Open MPI takes no underscore in a host's name; give its address, or a name that ~/.ssh/config has for it."
    [[ $host =~ ^[A-Za-z0-9][A-Za-z0-9.-]*$ ]] ||
      refuse "line $number of '$1' does not start with a host's name or address, but with $(visible "$host")."
    [[ -z ${slots[$host]+there} ]] ||
      refuse "line $number of '$1' names $host a second time; give it one line, with slots=N."
    hosts+=("$host")
    slots[$host]=
    for word in "${words[@]:1}"; do
      # There are never more ranks than slots, so that a maximum changes nothing.
      if [[ $word =~ ^slots=([1-9][0-9]{0,4})$ ]]; then
        slots[$host]=${BASH_REMATCH[1]}
      elif ! [[ $word =~ ^max[-_]slots=[0-9]+$ ]]; then
        refuse "line $number of '$1' has $(visible "$word"); after a host's name this script knows only slots=N, with N from 1."
      fi
    done
  done <"$1"
  ((${#hosts[@]})) || refuse "'$1' names no host; write a host a line, as in: node1 slots=8"
  # Open MPI's --host takes no users, but its way in does, one for all.
  ((${#users[@]} < 2)) ||
    refuse "'$1' names different users; write USER@ before all hosts or none, and what differs into ~/.ssh/config (Host, User)."
  user=${!users[*]}
  if [[ $user != @ ]]; then GYRE_SSH="${GYRE_SSH:-ssh} -l ${user#@}"; fi
}

# ask_hosts: asks all hosts at the same time what they have; the answers are in the folder `answers`.
ask_hosts() {
  local host question ssh
  if [[ -n ${answers-} ]]; then rm -rf -- "$answers"; fi
  answers=$(mktemp -d)
  trap 'rm -rf -- "$answers"' EXIT
  # For whatever shell the user has there: mpirun, too, gets what a shell finds that nobody types to.
  # shellcheck disable=SC2016  # expanded there
  printf -v question '
    echo "gyre: reached"
    echo "gyre: orted $(command -v orted)"
    echo "gyre: mpi $(mpirun --version 2>/dev/null | head -n 1)"
    [ ! -x %q ] || echo "gyre: binary $(sha256sum <%q)"
    echo "gyre: files $(ulimit -S -n)"
    echo "gyre: cores $(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v "^#" | sort -u | wc -l)"
    echo "gyre: nodes $(lscpu -p=NODE 2>/dev/null | grep -v "^#" | sort -u | wc -l)"
  ' "${binary:?}" "$binary"
  read -r -a ssh <<<"${GYRE_SSH:-ssh}"
  for host in "${hosts[@]}"; do
    local ask=("${ssh[@]}" -o BatchMode=yes -o ConnectTimeout=5 "$host")
    # mpirun needs no ssh for the host that it runs on.
    if [[ $host == localhost || $host == "$(hostname)" || $host == "$(hostname -s)" ]]; then ask=(); fi
    timeout --kill-after=1 20 "${ask[@]}" sh -s <<<"$question" \
      >"$answers/$host" 2>"$answers/$host.errors" &
  done
  wait
}

# answer HOST WHAT: prints what the host has answered.
answer() {
  sed -n "s/^gyre: $2 *//p" "$answers/$1"
}

# How many hosts have been complained about.
complaints=0

# judge_host HOST RANKS THREADS BOUND: says in one sentence why the host cannot do its part, if so.
judge_host() {
  local host=$1 complaint='' here there reason
  here=$(mpirun --version | head -n 1)
  there=$(answer "$host" mpi)
  if ! grep -q '^gyre: reached$' "$answers/$host"; then
    reason=$(grep -v '^[[:space:]]*$' "$answers/$host.errors" | tail -n 1 | tr -d '\r') || reason="no answer"
    complaint="cannot be reached by ssh (${reason%.}); make this work without a password: ${GYRE_SSH:-ssh} $host true"
  elif [[ -z $(answer "$host" orted) || -z $there ]]; then
    complaint="has no Open MPI in the PATH of a shell that nobody types to; install openmpi-bin there, or set PATH above the line of ~/.bashrc that ends it for such shells."
  elif [[ $there != "$here" ]]; then
    complaint="has ${there}, and this host ${here}; install the same on both."
  elif [[ -z $(answer "$host" binary) ]]; then
    complaint="has no executable '$binary'; put the package on a file system that all hosts share, or copy it there."
  elif [[ $(answer "$host" binary) != "$(sha256sum <"$binary")" ]]; then
    complaint="has another build of '$binary' than this host; copy this one there."
  elif [[ $(answer "$host" files) =~ ^[0-9]+$ ]] && ((BASH_REMATCH[0] < 4 * $2 + 64)); then
    complaint="lets mpirun open $(answer "$host" files) files (ulimit -n), and $2 ranks there need $((4 * $2 + 64)); start fewer there, or raise the limit in its /etc/security/limits.conf."
  elif $4 && (($2 * ${3:-1} > $(answer "$host" cores))); then
    complaint="has $(answer "$host" cores) cores for ranks that need $(($2 * ${3:-1})); start fewer there, or give --no-bind."
  fi
  if [[ -n $complaint ]]; then
    printf '%s: %s %s\n' "${me:?}" "$host" "$complaint" >&2
    complaints=$((complaints + 1))
  fi
}
