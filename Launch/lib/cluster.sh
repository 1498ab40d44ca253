# shellcheck shell=bash
# An emulated cluster: how its hosts are made, looked at and removed.
#
# A host is a network namespace CLUSTER-nodeK whose only interface, eth0, has the address 10.77.0.K.
# Its other end, portK, sits on a bridge in a namespace CLUSTER-switch, so that nothing appears in
# the machine's own network and clusters with the same addresses do not meet. What is up and at what
# rate is asked of the kernel: there is no record that could be wrong.

# A cluster's namespaces are files here, also those that a crash has left half made.
namespaces=/run/netns

# namespaces_of CLUSTER: prints the names of its namespaces, its hosts' before its switch's.
namespaces_of() {
  local path
  for path in "$namespaces/$1"-node* "$namespaces/$1-switch"; do
    if [[ -e $path && ${path#"$namespaces/$1"} =~ ^-(node[0-9]+|switch)$ ]]; then
      echo "${path##*/}"
    fi
  done
}

# hosts_of CLUSTER: prints how many hosts it has; 0 where it is not up.
hosts_of() {
  namespaces_of "$1" | grep -c -e '-node[0-9]*$' || true
}

# clusters_of NAME: prints the names of the cluster NAME and of those that runs under this name have
# made for themselves, NAME-PROCESS, as far as there are any.
clusters_of() {
  local path
  for path in "$namespaces/$1"-*; do
    if [[ ${path#"$namespaces/"} =~ ^($1(-[0-9]+)?)-(node[0-9]+|switch)$ ]]; then
      echo "${BASH_REMATCH[1]}"
    fi
  done | sort -u
}

# processes_of CLUSTER: prints the ids of the processes that run on its hosts.
processes_of() {
  local namespace
  for namespace in $(namespaces_of "$1"); do
    ip netns pids "$namespace" 2>/dev/null || true
  done
}

# require_rights: ends the script unless it may make network namespaces.
require_rights() {
  (($(id -u) == 0)) ||
    fail "network namespaces need root; run it again with: sudo --preserve-env=PATH ${me:?} ..."
  unshare --net --uts --ipc --mount ip link set lo up 2>/dev/null ||
    fail "this kernel or container lets nobody make hosts (network namespaces and their interfaces); run it on the machine itself, or in a container started with --privileged."
}

# attempt SENTENCE COMMAND…: runs a command, and where it fails ends the script with its words.
attempt() {
  local sentence=$1 words
  shift
  words=$("$@" 2>&1) || fail "$sentence (${words##*$'\n'})"
}

# bytes_in RATE SECONDS LEAST: prints the bytes that a link carries in so many seconds, or LEAST.
bytes_in() {
  awk -v rate="${1,,}" -v seconds="$2" -v least="$3" 'BEGIN {
    unit = rate ~ /gbit$/ ? 1e9 : rate ~ /mbit$/ ? 1e6 : 1e3
    bytes = rate * unit / 8 * seconds
    printf "%.0f", bytes < least ? least : bytes
  }'
}

# shape NAMESPACE INTERFACE RATE: limits what leaves an interface.
#
# The bucket holds 2 ms of traffic, as much as the kernel's coarsest clock lets through at once, and
# never less than a segment of 64 KiB: it would be cut into packets, each of which costs processor time
# that the ranks lack. What waits longer than 50 ms is dropped.
shape() {
  local burst
  burst=$(bytes_in "$3" 0.002 72000)
  attempt "this kernel cannot limit a link to $3; leave --rate out." \
    tc -n "$1" qdisc add dev "$2" root tbf rate "$3" burst "$burst" latency 50ms
}

# claim_cluster CLUSTER: makes its switch's namespace, which only one process can do.
claim_cluster() {
  attempt "cannot make the namespace $1-switch." ip netns add "$1-switch"
}

# make_cluster CLUSTER HOSTS RATE: makes the rest; an empty rate leaves its links unshaped.
make_cluster() {
  local cluster=$1 hosts=$2 rate=$3 switch=$1-switch host k
  quieten "$switch"
  attempt "this kernel has no network bridges." ip -n "$switch" link add bridge type bridge
  attempt "cannot start the bridge." ip -n "$switch" link set bridge up
  for ((k = 1; k <= hosts; k++)); do
    host=$cluster-node$k
    attempt "cannot make the namespace $host." ip netns add "$host"
    quieten "$host"
    attempt "this kernel has no virtual network interfaces (veth)." \
      ip -n "$host" link add eth0 type veth peer name "port$k" netns "$switch"
    attempt "cannot join node$k to the bridge." \
      ip -n "$switch" link set "port$k" master bridge up
    attempt "cannot give node$k its address." ip -n "$host" address add "10.77.0.$k/24" dev eth0
    attempt "cannot start the interfaces of node$k." ip -n "$host" link set lo up
    attempt "cannot start the interfaces of node$k." ip -n "$host" link set eth0 up
    # Both ends, or several hosts could together send to one more than its link carries.
    if [[ -n $rate ]]; then
      shape "$host" eth0 "$rate"
      shape "$switch" "port$k" "$rate"
    fi
  done
}

# quieten NAMESPACE: turns IPv6 off, whose hosts talk unasked and would be counted.
quieten() {
  # shellcheck disable=SC2016  # expanded there
  ip netns exec "$1" sh -c '
    for all in /proc/sys/net/ipv6/conf/{all,default}; do
      ! [ -w $all/disable_ipv6 ] || echo 1 >$all/disable_ipv6
    done' 2>/dev/null || true
}

# remove_cluster CLUSTER: ends what runs in it and removes it, whatever state it is in.
remove_cluster() {
  local signal namespace left
  for signal in TERM KILL; do
    mapfile -t left < <(processes_of "$1")
    ((${#left[@]})) || break
    kill -s "$signal" "${left[@]}" 2>/dev/null || true
    for _ in {1..20}; do
      [[ -n $(processes_of "$1") ]] || break
      sleep 0.1
    done
  done
  for namespace in $(namespaces_of "$1"); do
    attempt "cannot remove the namespace $namespace." ip netns delete "$namespace"
  done
}

# remove_at_the_end CLUSTER: removes a cluster when this script ends, however it ends.
remove_at_the_end() {
  # Killed with SIGKILL, the script cannot: this process waits for its end and then does.
  # shellcheck disable=SC2016  # expanded there
  setsid bash -c '
    tail --pid="$1" --sleep-interval=0.2 --follow /dev/null
    me=$0
    source "$2/setup.sh"
    source "$2/cluster.sh"
    remove_cluster "$3"' "$me" $$ "${root:?}/Launch/lib" "$1" </dev/null >/dev/null 2>&1 &
  guard=$!
  disown "$guard" # its end is not worth a message
  # shellcheck disable=SC2064  # the value of now
  trap "
    trap '' HUP INT TERM
    remove_cluster $1
    keep_after_all" EXIT
  # A signal must not wait for a command that takes no notice of it.
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# keep_after_all: undoes `remove_at_the_end`.
keep_after_all() {
  trap - EXIT
  kill -s KILL -- "-$guard" 2>/dev/null || true
}

# bytes_of CLUSTER HOST: prints the bytes that its interface has sent and received.
bytes_of() {
  # shellcheck disable=SC2016  # expanded on the host
  ip netns exec "$1-$2" sh -c '
    cd /sys/class/net/eth0/statistics && echo $(cat tx_bytes) $(cat rx_bytes)'
}

# all_bytes CLUSTER HOSTS: prints `bytes_of` each of its hosts, a line each.
all_bytes() {
  local k
  for ((k = 1; k <= $2; k++)); do bytes_of "$1" "node$k"; done
}

# difference BEFORE AFTER: prints what lies between two of `all_bytes` as JSON.
difference() {
  paste <(printf '%s\n' "$1") <(printf '%s\n' "$2") | awk '
    { printf "%s{\"name\":\"node%d\",\"sentBytes\":%.0f,\"receivedBytes\":%.0f}",
        NR == 1 ? "{\"hosts\":[" : ",", NR, $3 - $1, $4 - $2 }
    END { print "]}" }'
}

# rate_of CLUSTER HOST: prints the rate of its link; nothing where it is unshaped.
rate_of() {
  tc -n "$1-$2" qdisc show dev eth0 | sed -n 's/.* tbf .* rate \([^ ]*\).*/\1/p'
}
