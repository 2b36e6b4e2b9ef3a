#!/usr/bin/env bash
# Makes the cluster's certificates and kubeconfigs, new for every cluster.
#
#   pki.sh FOLDER
#
# ECDSA P-256 in PKCS#8, with the extensions that strict TLS libraries want. They are worth nothing elsewhere.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail
. "$(dirname "$0")/settings.sh"

main() {
  mkdir -p "$1"
  cd "$1"
  authority ca kubernetes-ca
  authority front front-proxy-ca
  local service=kubernetes.default.svc
  certificate apiserver ca /CN=kube-apiserver serverAuth "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,\
DNS:$service,DNS:$service.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
  certificate kubelet-server ca "/CN=$NODE" serverAuth "DNS:$NODE,IP:$NODE_IP,IP:127.0.0.1"
  certificate kubelet-client ca /O=system:masters/CN=kube-apiserver-kubelet-client clientAuth
  certificate front-client front /CN=front-proxy-client clientAuth
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out service-accounts.key 2>/dev/null
  openssl pkey -in service-accounts.key -pubout -out service-accounts.pub
  kubeconfig admin /O=system:masters/CN=gate-admin
  kubeconfig controllers /CN=system:kube-controller-manager
  kubeconfig scheduler /CN=system:kube-scheduler
  kubeconfig proxy /CN=system:kube-proxy
  kubeconfig node "/O=system:nodes/CN=system:node:$NODE"
}

key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key"; }

authority() {
  key "$1"
  openssl req -x509 -new -key "$1.key" -sha256 -days 3650 -subj "/CN=$2" -out "$1.crt" \
    -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
}

# certificate NAME AUTHORITY SUBJECT USAGE [ALTERNATIVE-NAMES]
certificate() {
  key "$1"
  openssl req -new -key "$1.key" -subj "$3" | openssl x509 -req -CA "$2.crt" -CAkey "$2.key" -CAcreateserial \
    -sha256 -days 3650 -out "$1.crt" 2>/dev/null -extfile <(
    printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$4"
    [ -z "${5-}" ] || printf 'subjectAltName=%s\n' "$5"
  )
}

# kubeconfig NAME SUBJECT: with all that it needs inside.
kubeconfig() {
  certificate "$1" ca "$2" clientAuth
  cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
- {name: gate, cluster: {server: "https://$NODE_IP:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}
users:
- {name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}
contexts:
- {name: gate, context: {cluster: gate, user: $1}}
current-context: gate
YAML
}

main "$1"
