# shellcheck shell=bash disable=SC2034
# Names, folders, addresses: sourced by every script of the cluster.

KIT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The same folder as the other tools of CI: what is built once stays.
CACHE=${GATE_CI_CACHE:-$HOME/.cache/gate-ci}
CLUSTER=$CACHE/cluster
BIN=$CLUSTER/bin

# Several clusters may stand beside each other: GATE_CLUSTER_INSTANCE=-mine gives another one. The name is that
# of its network namespace and of its cgroup.
INSTANCE=${GATE_CLUSTER_INSTANCE-}
NAME=gate-cluster$INSTANCE
STATE=$CLUSTER/state$INSTANCE # all that a run writes; goes with `down`
NETNS=/run/netns/$NAME

NODE=node1
NODE_IP=198.51.100.10 # TEST-NET-2 (RFC 5737): nobody's
SERVICES=10.96.0.0/16
API_IP=10.96.0.1 # the first of SERVICES
PODS=10.244.0.0/24
GATEWAY_PORT=8080 # Envoy's: Contour adds 8000 to the listener's 80
PROMETHEUS_PORT=9090

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "error: $*"
  exit 1
}

# until_true SECONDS WHAT COMMAND...: polls, and fails with the name of what did not come.
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt "$end" ] || fail "$what: not in time; logs are in $STATE/log"
    sleep 0.1
  done
}
