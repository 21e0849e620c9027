#!/bin/sh
# The suite of test/e2e on a kind cluster. Leaves the cluster up if KEEP=1.
set -eu
cd "$(dirname "$0")/../.."
cluster=lateen
fail() { echo "test:kind: $1" >&2; exit 1; }
for tool in docker kind kubectl; do
  command -v "$tool" >/dev/null 2>&1 || fail "needs docker, kind (0.27 or newer) and kubectl on the PATH; $tool is missing"
done
docker info >/dev/null 2>&1 || fail 'needs a running Docker engine; `docker info` failed'
docker build -q -t lateen:dev -f test/kind/Dockerfile .
kind get clusters 2>/dev/null | grep -qx "$cluster" || kind create cluster --config kind-config.yaml --wait 120s
kind load docker-image lateen:dev --name "$cluster"
mkdir -p .build
kind get kubeconfig --name "$cluster" > .build/kind.kubeconfig
export KUBECONFIG="$PWD/.build/kind.kubeconfig"
[ "${KEEP:-}" = 1 ] || trap 'kind delete cluster --name "$cluster"' EXIT
kubectl apply --server-side -k manifests/base
kubectl wait --for=condition=Established crd --all --timeout=60s
kubectl apply --server-side -k manifests
for workload in deployment/istiod daemonset/istio-cni-node daemonset/ztunnel; do
  kubectl -n istio-system rollout status "$workload" --timeout=180s
done
tap --reporter=terse --jobs=1 --timeout=400 test/e2e/*.test.ts
