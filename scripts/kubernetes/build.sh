#!/usr/bin/env bash
# Usage: build.sh FOLDER
#
# Builds a Kubernetes for tests where no image registry can be reached: the control plane and kubelet of Debian 12's own
# source package (1.20), with etcd, CNI plugins and dnsmasq beside them, all below FOLDER. Nothing is installed. About
# seven minutes on two cores, once. Needs root, make and apt; packages come from where the machine's configuration says.
set -euo pipefail
home=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$home"

# A state of apt's own, so that the machine's isn't touched. The parentheses are apt's, not the shell's.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Identifier: Packages' \
    | awk '$2 == "Debian" && $3 == "bookworm" {print $1; exit}')
mkdir -p apt/{state/lists/partial,cache/archives/partial,parts,preferences} packages bin
: >apt/status
cat >apt/parts/debian.sources <<SOURCES
Types: deb deb-src
URIs: $mirror
Suites: bookworm
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
SOURCES
cat >apt/apt.conf <<CONF
Dir::State "$home/apt/state"; Dir::State::status "$home/apt/status"; Dir::Cache "$home/apt/cache";
Dir::Etc::sourcelist "/dev/null"; Dir::Etc::sourceparts "$home/apt/parts";
Dir::Etc::preferencesparts "$home/apt/preferences"; APT::Sandbox::User "root";
CONF
export APT_CONFIG=$home/apt/apt.conf
apt-get -qq update
(
    cd packages
    apt-get -qq download golang-1.19-go golang-1.19-src rsync libpopt0 libxxhash0 etcd-server \
        containernetworking-plugins dnsmasq-base
    for package in *.deb; do dpkg -x "$package" .; done
    rm -- *.deb
)
apt-get -qq source --download-only kubernetes
tar xzf kubernetes_*.orig.tar.gz
cd kubernetes-1.20*/

mkdir -p .go/src/k8s.io
ln -sfn ../../.. .go/src/k8s.io/kubernetes
export LD_LIBRARY_PATH=$home/packages/usr/lib/x86_64-linux-gnu GOROOT=$home/packages/usr/lib/go-1.19 GOPATH=$PWD/.go \
    HOME=$home/home CGO_ENABLED=0 GOFLAGS=-mod=vendor GOPROXY=off KUBE_GIT_VERSION=v1.20.2
export PATH=$GOROOT/bin:$home/packages/usr/bin:$PATH
mkdir -p "$HOME"
make WHAT="cmd/kube-apiserver cmd/kube-controller-manager cmd/kube-scheduler cmd/kube-proxy cmd/kubelet"

# kubelet last: that it is there says that all of it is.
cp -L "$home"/packages/usr/bin/etcd _output/bin/kube{-apiserver,-controller-manager,-scheduler,-proxy} "$home/bin/"
cp -L "$home/packages/usr/sbin/dnsmasq" "$home/bin/"
cp -RL "$home/packages/usr/lib/cni" "$home/cni"
cp -L _output/bin/kubelet "$home/bin/"
cd "$home"
rm -rf kubernetes-1.20*/ kubernetes_* home packages apt
