#!/usr/bin/env bash
# Starts every component, in the namespaces of the cluster, and waits until all of them do their work.
# Called by `up`.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
. "$(dirname "$0")/settings.sh"
. "$(dirname "$0")/configs.sh"

export PATH=$BIN:/usr/local/sbin:/usr/sbin:/sbin:$PATH
export KUBECONFIG=$STATE/kubeconfig KUBECACHEDIR=$STATE/kubectl
readonly PKI=$STATE/pki

main() {
  mkdir -p "$STATE/log" "$STATE/pid"
  own_folders
  "$KIT/pki.sh" "$PKI" 2>"$STATE/log/pki.log"
  cp "$PKI/admin.kubeconfig" "$KUBECONFIG"
  write_configs
  start containerd containerd -c "$STATE/config/containerd.toml"
  control_plane
  until_true 30 containerd ctr version
  import_images
  until_true 120 "API server" kubectl get --raw /readyz
  tell "API server ready"
  node
  gateway
  prometheus
  until_true 120 "node" kubectl wait --for=condition=Ready "node/$NODE" --timeout=1s
  tell "node ready"
  until_true 60 "service account" kubectl get serviceaccount default # without it pods are refused
  until_true 60 "Gateway" kubectl --namespace gateway wait --for=condition=Programmed gateway/web --timeout=1s
  until_true 60 "Prometheus" reachable "$PROMETHEUS_PORT"
  tell "Gateway and Prometheus ready"
}

tell() { say "cluster: $* after ${SECONDS} s"; }

# Nothing is written to the host's /run and /var.
own_folders() {
  mount --make-rshared /
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock /run/netns "$STATE"/var/{kubelet,cni,log} /var/lib/kubelet /var/lib/cni
  mount --bind "$STATE/var/kubelet" /var/lib/kubelet
  mount --bind "$STATE/var/cni" /var/lib/cni
  mount --bind "$STATE/var/log" /var/log
}

# start NAME COMMAND...: as a child of the namespace's first process, in the end.
start() {
  local name=$1
  shift
  setsid "$@" >>"$STATE/log/$name.log" 2>&1 </dev/null &
  echo $! >"$STATE/pid/$name"
}

control_plane() {
  # unsafe-no-fsync: nobody will read this data after a crash.
  start etcd etcd --name=gate --data-dir="$STATE/etcd" --log-level=warn --unsafe-no-fsync \
    --listen-client-urls=http://127.0.0.1:2379 --advertise-client-urls=http://127.0.0.1:2379 \
    --listen-peer-urls=http://127.0.0.1:2380 --initial-advertise-peer-urls=http://127.0.0.1:2380 \
    --initial-cluster=gate=http://127.0.0.1:2380
  # MutatingAdmissionPolicy is on by default from 1.36 only.
  start kube-apiserver kube-apiserver --advertise-address="$NODE_IP" --bind-address=0.0.0.0 --secure-port=6443 \
    --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range="$SERVICES" \
    --client-ca-file="$PKI/ca.crt" --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" \
    --kubelet-client-certificate="$PKI/kubelet-client.crt" --kubelet-client-key="$PKI/kubelet-client.key" \
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --service-account-issuer=https://kubernetes.default.svc \
    --service-account-signing-key-file="$PKI/service-accounts.key" \
    --service-account-key-file="$PKI/service-accounts.pub" \
    --requestheader-client-ca-file="$PKI/front.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-client.crt" --proxy-client-key-file="$PKI/front-client.key" \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --audit-policy-file="$STATE/config/audit.yaml" --audit-log-path="$STATE/log/audit.log" \
    --profiling=false --feature-gates=MutatingAdmissionPolicy=true \
    --runtime-config=admissionregistration.k8s.io/v1beta1=true
}

import_images() {
  local archive
  for archive in "$CLUSTER"/images/*.tar; do
    ctr --namespace k8s.io images import "$archive" >>"$STATE/log/import.log" 2>&1
  done
}

node() {
  start kube-controller-manager kube-controller-manager --leader-elect=false --bind-address=127.0.0.1 \
    --kubeconfig="$PKI/controllers.kubeconfig" --authentication-kubeconfig="$PKI/controllers.kubeconfig" \
    --authorization-kubeconfig="$PKI/controllers.kubeconfig" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --service-account-private-key-file="$PKI/service-accounts.key" --use-service-account-credentials=true \
    --allocate-node-cidrs=true --cluster-cidr=10.244.0.0/16 --service-cluster-ip-range="$SERVICES"
  start kube-scheduler kube-scheduler --leader-elect=false --bind-address=127.0.0.1 \
    --kubeconfig="$PKI/scheduler.kubeconfig" --authentication-kubeconfig="$PKI/scheduler.kubeconfig" \
    --authorization-kubeconfig="$PKI/scheduler.kubeconfig"
  start kubelet kubelet --config="$STATE/config/kubelet.yaml" --kubeconfig="$PKI/node.kubeconfig" \
    --hostname-override="$NODE" --node-ip="$NODE_IP"
  # The API server makes the roles themselves a moment after it is ready.
  until_true 30 "role of kube-proxy" kubectl create clusterrolebinding gate-proxy \
    --clusterrole=system:node-proxier --user=system:kube-proxy
  start kube-proxy kube-proxy --config="$STATE/config/kube-proxy.yaml"
}

# Contour and Envoy as processes: a Gateway API data plane without a pod.
gateway() {
  kubectl apply --server-side --filename "$CLUSTER/gateway-crds.yaml" --filename "$CLUSTER/contour-crds.yaml" \
    >>"$STATE/log/crds.log" 2>&1
  # Contour gives up at the first kind that is not served yet.
  local kinds
  kinds=$(kubectl get customresourcedefinitions --output=jsonpath='{.items[*].metadata.name}')
  until_true 60 "Gateway API" kubectl get --all-namespaces "${kinds// /,}"
  kubectl apply --filename "$KIT/gateway.yaml" >>"$STATE/log/crds.log"
  start contour contour serve --insecure --kubeconfig="$KUBECONFIG" --config-path="$STATE/config/contour.yaml" \
    --xds-address=127.0.0.1 --xds-port=8001 --http-address=127.0.0.1 --http-port=8010 \
    --health-address=127.0.0.1 --health-port=8003 --debug-http-address=127.0.0.1 --disable-leader-election \
    --envoy-service-http-address="$NODE_IP" --envoy-service-http-port="$GATEWAY_PORT" \
    --ingress-status-address="$NODE_IP"
  contour bootstrap "$STATE/config/envoy.json" --xds-address=127.0.0.1 --xds-port=8001 \
    --admin-address=/run/envoy-admin.sock 2>>"$STATE/log/contour.log"
  # This build of Envoy ends with its parent, so one stays with it.
  # shellcheck disable=SC2016 # for the inner shell
  start envoy bash -c '"$@" & wait "$!"' - envoy --config-path "$STATE/config/envoy.json" --concurrency 1 \
    --disable-hot-restart --service-cluster projectcontour --service-node envoy1 --log-level warn
}

prometheus() {
  echo '[]' >"$STATE/targets.json"
  start discover "$KIT/discover.py" "$STATE/targets.json"
  start prometheus "$CACHE/bin/prometheus" --config.file="$STATE/config/prometheus.yml" --log.level=warn \
    --storage.tsdb.path="$STATE/prometheus" --web.listen-address="0.0.0.0:$PROMETHEUS_PORT" \
    --enable-feature=native-histograms
}

reachable() { exec 3<>"/dev/tcp/$NODE_IP/$1"; }

main
