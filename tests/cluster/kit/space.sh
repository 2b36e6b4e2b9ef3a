# shellcheck shell=bash disable=SC2016 # single quotes: for inner shells
# The room that a cluster lives in: a network namespace, a process and a mount namespace inside it, a cgroup.
# Sourced by up, down and images. Everything in the room ends with its first process.

make_room() {
  # Without the limit raised, the 128th watcher of files on this host is refused. It stays raised: others may
  # need it by the time the cluster goes.
  [ "$(sysctl -n fs.inotify.max_user_instances)" -ge 1024 ] || sysctl -qw fs.inotify.max_user_instances=1024
  make_network
  make_cgroups
  # Not `ip netns exec`: that makes a mount namespace of its own for each call.
  setsid nsenter "--net=$NETNS" unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
    "$BIN/init" >/dev/null 2>&1 </dev/null 9>&- &
  local parent=$!
  disown "$parent" # its end is no news for the shell
  until_true 10 "the first process" read_first_child "$parent"
  until_true 10 "its namespaces" is_inside "$(init)"
}

# The node has an address and no way out: no default route. Services are behind the same interface, or the node
# itself could not connect to one. (A veth pair: not every kernel has dummy interfaces.)
make_network() {
  ip netns add "$NAME"
  nsenter "--net=$NETNS" bash -euc '
    ip link set lo up
    ip link add node0 type veth peer name node0p
    ip address add "$1/24" dev node0
    ip link set node0 up
    ip link set node0p up
    ip route add "$2" dev node0 src "$1"
    sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    sysctl -qw net.bridge.bridge-nf-call-iptables=1 2>/dev/null || modprobe br_netfilter
  ' - "$NODE_IP" "$SERVICES"
}

make_cgroups() {
  local controller
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then # version 2
    mkdir -p "/sys/fs/cgroup/$NAME"
    echo "+cpu +cpuset +memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
    return
  fi
  for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
    [ ! -d "/sys/fs/cgroup/$controller" ] || mkdir -p "/sys/fs/cgroup/$controller/$NAME"
  done
  # Else the whole cluster counts as one process among those of the host: its pods starve beside a build.
  [ ! -d "/sys/fs/cgroup/cpu/$NAME" ] || echo 16384 >"/sys/fs/cgroup/cpu/$NAME/cpu.shares"
  local file
  for file in cpuset.cpus cpuset.mems; do # empty in a new group, and nothing may run in it then
    cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$NAME/$file"
  done
}

read_first_child() {
  local child
  child=$(<"/proc/$1/task/$1/children") && [ -n "$child" ] && echo "${child%% *}" >"$STATE/init"
}

# The first process, as the host counts.
init() { cat "$STATE/init"; }

# True of a process whose namespaces are all made.
is_inside() {
  [ "$(readlink "/proc/$1/exe")" = "$(readlink -f "$BIN/init")" ] && [ "/proc/$1/ns/net" -ef "$NETNS" ]
}

enter() { nsenter -t "$(init)" -n -m -p -- "$@"; }

# True when all that was started still runs, and the cluster says that it is well.
is_up() {
  [ -e "$STATE/env" ] && is_inside "$(init)" &&
    enter bash -c 'for pid; do kill -0 "$(cat "$pid")" || exit; done' - "$STATE"/pid/* &&
    KUBECONFIG=$STATE/kubeconfig KUBECACHEDIR=$STATE/kubectl enter "$BIN/kubectl" wait --for=condition=Ready "node/$NODE" --timeout=20s
} >/dev/null 2>&1

# Ends and removes whatever is there of it, also of one half dead.
clear_room() {
  until_true 20 "end of the processes" end_processes
  until_true 20 "end of the cgroups" remove_cgroups
  [ ! -e "$NETNS" ] || ip netns delete "$NAME"
  rm -rf "$STATE"
}

# Whoever is in the network namespace is of the cluster or of a test; the first process takes all pods with it.
end_processes() {
  local pid pids
  pids=$(ip netns pids "$NAME" 2>/dev/null) || true
  for pid in $pids; do
    kill -KILL "$pid" 2>/dev/null || true
  done
  [ -z "$pids" ]
}

# They can be removed as soon as the last process has gone, the innermost first.
remove_cgroups() {
  local group
  for group in "/sys/fs/cgroup/$NAME" /sys/fs/cgroup/*/"$NAME"; do
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} + || return
  done
}
