# shellcheck shell=bash disable=SC2154
# The components' configuration files, where flags don't do: sourced by inside.sh.

write_configs() {
  local to=$STATE/config pki=$STATE/pki
  mkdir -p "$to/cni"

  # restrict_oom_score_adj: root of a virtual machine or container may lack CAP_SYS_RESOURCE, and a score below
  # its own is then refused. No registry is known: images are imported.
  cat >"$to/containerd.toml" <<TOML
version = 2
root = "$STATE/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt",
]
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gate.test/pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$to/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$(snapshotter)"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML

  cat >"$to/cni/10-gate.conflist" <<JSON
{"cniVersion": "1.0.0", "name": "gate", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
   "ipMasq": false, "ipam": {"type": "host-local", "ranges": [[{"subnet": "$PODS"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}
]}
JSON

  # failCgroupV1: newer kubelets refuse the older cgroups unless told. Disk thresholds: the host's disk is not
  # the cluster's.
  cat >"$to/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $NODE_IP
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet-server.crt
tlsPrivateKeyFile: $pki/kubelet-server.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$NAME
failSwapOn: false
failCgroupV1: false
resolvConf: ""
maxPods: 110
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1%}
serializeImagePulls: false
YAML

  # What people and gate ask of the API server, not the cluster's own talk.
  cat >"$to/audit.yaml" <<YAML
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, users: [gate-admin]}
- {level: None}
YAML

  # nftables: with iptables (1.8.9, its nft variant, Linux 6.18) one new connection in some thousands missed a Service's
  # rules while others were written, went out to the Service's own address, and had no route there.
  # 0s would be the default, 1s.
  # conntrack 0: leave the host's limits alone; they can't be written from a network namespace.
  cat >"$to/kube-proxy.yaml" <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: $PODS
hostnameOverride: $NODE
clientConnection: {kubeconfig: $pki/proxy.kubeconfig}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
nftables: {minSyncPeriod: 1ms}
metricsBindAddress: 127.0.0.1:10249
healthzBindAddress: 127.0.0.1:10256
YAML

  cat >"$to/contour.yaml" <<YAML
gateway: {gatewayRef: {namespace: gateway, name: web}}
YAML

  # targets.json is kept by discover.py. Envoy counts for its clusters: the Gateway's backends.
  cat >"$to/prometheus.yml" <<YAML
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
- job_name: pods
  file_sd_configs: [{files: [$STATE/targets.json], refresh_interval: 1s}]
- job_name: envoy
  metrics_path: /stats/prometheus
  static_configs: [{targets: ["127.0.0.1:8002"]}]
YAML
}

# overlayfs can't lie on another overlayfs, as in a container.
snapshotter() {
  local try=$STATE/overlay
  mkdir -p "$try/lower" "$try/upper" "$try/work" "$try/merged"
  if mount -t overlay -o "lowerdir=$try/lower,upperdir=$try/upper,workdir=$try/work" overlay "$try/merged" 2>/dev/null
  then
    umount "$try/merged"
    echo overlayfs
  else
    echo native
  fi
}
