#!/usr/bin/env bash
# Usage: node.sh FOLDER
#
# Runs a one-node Kubernetes out of what build.sh has put into FOLDER, until it is killed; then nothing of it is left
# but FOLDER/data. It has a network, a mount and a process namespace of its own, so that no rule, sysctl or mount of the
# machine changes. Needs root, containerd, openssl and iproute2. FOLDER/data/kubeconfig is the way in.
set -euo pipefail
home=$(cd "$1" && pwd)
export home data=$home/data run=/run/migrator-kubernetes address=192.168.240.2 # this machine is .1 of that network
readonly namespace=migratork8s link=migratork8s0

clean() {
    ip netns del "$namespace" 2>/dev/null || :
    ip link del "$link" 2>/dev/null || :
    rm -rf "$run" /run/netns/cni-*
}
clean
trap clean EXIT
ip netns add "$namespace"
ip link add "$link" type veth peer name eth0 netns "$namespace"
ip addr add 192.168.240.1/30 dev "$link"
ip link set "$link" up
ip -n "$namespace" addr add "$address/30" dev eth0
ip -n "$namespace" link set lo up
ip -n "$namespace" link set eth0 up
ip -n "$namespace" route add default via 192.168.240.1

mkdir -p "$data"/{etcd,containerd,kubelet,log,cni,sysctl,dns} "$run"
cd "$data"
if [[ ! -f sa.key ]]; then
    openssl genrsa -out sa.key 2048 2>/dev/null
    openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
fi
token=$(openssl rand -hex 16)
export token
(umask 077 && echo "$token,admin,admin,\"system:masters\"" >tokens.csv && cat >kubeconfig) <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: node, cluster: {server: "https://$address:16443", insecure-skip-tls-verify: true}}]
users: [{name: admin, user: {token: $token}}]
contexts: [{name: node, context: {cluster: node, user: admin}}]
current-context: node
CONFIG
cat >cni/10-node.conflist <<CNI
{"cniVersion": "0.4.0", "name": "node", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
CNI
cat >containerd.toml <<TOML
version = 2
root = "$data/containerd"
state = "$run/containerd"
[grpc]
  address = "$run/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "docker.io/library/migrator-pause:local"
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "$home/cni"
    conf_dir = "$data/cni"
TOML

# What runs inside. Single quotes: nothing of it is for this shell.
# shellcheck disable=SC2016
inside='
set -u
cd "$data"
# kubelet insists on writing these: it gets files of its own, and the machine keeps its values.
for name in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
        kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    file=sysctl/${name//\//_}
    cat "/proc/sys/$name" >"$file"
    mount --bind "$file" "/proc/sys/$name"
done
begin() { local name=$1; shift; "$@" >"log/$name.log" 2>&1 & }
begin etcd "$home/bin/etcd" --data-dir etcd --unsafe-no-fsync --listen-client-urls http://127.0.0.1:12379 \
    --advertise-client-urls http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380
begin containerd containerd --config containerd.toml
begin apiserver "$home/bin/kube-apiserver" --etcd-servers=http://127.0.0.1:12379 --bind-address="$address" \
    --advertise-address="$address" --secure-port=16443 --cert-dir=certs --service-cluster-ip-range=10.96.0.0/16 \
    --token-auth-file=tokens.csv --authorization-mode=AlwaysAllow --allow-privileged=true \
    --service-account-issuer=https://node --service-account-key-file=sa.pub \
    --service-account-signing-key-file=sa.key --feature-gates=TTLAfterFinished=true \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority=
until curl -ksf -H "Authorization: Bearer $token" "https://$address:16443/readyz" >/dev/null; do sleep 0.2; done
begin controllers "$home/bin/kube-controller-manager" --kubeconfig=kubeconfig --port=0 --secure-port=0 \
    --leader-elect=false --service-account-private-key-file=sa.key --feature-gates=TTLAfterFinished=true \
    --use-service-account-credentials=false
# Names of Services: a line "ADDRESS name.namespace.svc.cluster.local" in a file of dns/, which is read at once.
begin dns "$home/bin/dnsmasq" --keep-in-foreground --user=root --no-hosts --no-resolv --local=/cluster.local/ \
    --hostsdir="$data/dns" --listen-address="$address" --bind-interfaces --pid-file=
begin scheduler "$home/bin/kube-scheduler" --kubeconfig=kubeconfig --port=0 --secure-port=0 --leader-elect=false
begin proxy "$home/bin/kube-proxy" --kubeconfig=kubeconfig --proxy-mode=iptables --healthz-bind-address= \
    --metrics-bind-address= --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 \
    --conntrack-tcp-timeout-close-wait=0 --hostname-override=node --cluster-cidr=10.244.0.0/24
begin kubelet "$home/bin/kubelet" --kubeconfig=kubeconfig --hostname-override=node --node-ip="$address" \
    --root-dir="$data/kubelet" --cert-dir="$data/kubelet/pki" --container-runtime=remote \
    --container-runtime-endpoint="unix://$run/containerd.sock" --cgroup-driver=cgroupfs --cgroups-per-qos=false \
    --enforce-node-allocatable= --oom-score-adj=0 --fail-swap-on=false --eviction-hard= \
    --authorization-mode=AlwaysAllow --anonymous-auth=true --read-only-port=0 --port=11250 --healthz-port=0 \
    --make-iptables-util-chains=true --resolv-conf=/etc/resolv.conf --cluster-dns="$address" \
    --cluster-domain=cluster.local --feature-gates=SizeMemoryBackedVolumes=true
trap "exit 0" TERM INT
wait
'
nsenter --net="/run/netns/$namespace" \
    unshare --mount --propagation private --pid --fork --mount-proc --kill-child=SIGTERM bash -c "$inside" &
child=$!
# The first process of the namespace takes all others with it.
trap 'pkill -KILL -P "$child"' TERM INT
wait "$child" || wait "$child" || true
