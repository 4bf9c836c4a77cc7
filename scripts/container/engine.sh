#!/usr/bin/env bash
# Usage: engine.sh [up | stop]
#
# up    Makes containers usable: an engine that answers, Compose 2 as `docker compose`, Compose 1 as `docker-compose`,
#       and the base images. Where an engine runs, it is taken as it is and fetches images as it always does. Where none
#       runs, one is installed from Debian's packages and started, for root only. It can't count on a registry, so the
#       base images are made from Debian's packages too, under their official tags (see stand-ins/). Running it again
#       changes nothing.
# stop  Ends the engine if this script started it.
#
# Exit code 0: usable. 3: none can be had here; the last line says why. No mirror is named here: packages come from where
# the machine's own configuration says.
set -euo pipefail
cd -P "$(dirname "${BASH_SOURCE[0]}")"

readonly started_here=migrator.engine=started-by-script # a label of the engine, which `docker info` shows
readonly log=/var/log/migrator-dockerd.log pid_file=/run/migrator-dockerd.pid
readonly plugins=${DOCKER_CONFIG:-$HOME/.docker}/cli-plugins

say() { printf 'engine: %s\n' "$*" >&2; }
cannot() {
    say "no container engine: $*"
    exit 3
}

answers() { docker info >/dev/null 2>&1; }
is_ours() { docker info --format '{{.Labels}}' 2>/dev/null | grep -q "$started_here"; }

install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed \
            || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    # What apt knows of the mirror may be nothing, or old: then it is asked anew.
    get_packages "${missing[@]}" 2>/dev/null || { apt-get -qq update && get_packages "${missing[@]}"; }
}

get_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

# Where this machine takes Debian's packages from. The parentheses are apt's own, not the shell's.
mirror() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CODENAME)' 'Identifier: Packages' \
        | awk '$2 == "Debian" && $3 == "bookworm" {print $1; exit}'
}

start_engine() {
    [[ $(id -u) == 0 ]] || cannot "none answers, and only root could start one here"
    grep -qsx 'VERSION_CODENAME=bookworm' /etc/os-release \
        || cannot "none answers, and this script can only install one on Debian 12"
    install_packages docker.io iptables debootstrap || cannot "Debian's packages docker.io and debootstrap can't be installed"
    say "starting dockerd, log in $log"
    setsid nohup dockerd --label "$started_here" --pidfile "$pid_file" >"$log" 2>&1 </dev/null 9>&- &
    local pid=$! deadline=$((SECONDS + 60))
    until answers; do
        kill -0 "$pid" 2>/dev/null || cannot "dockerd ended: $(tail -n 1 "$log")"
        ((SECONDS < deadline)) || cannot "dockerd doesn't answer after 60 seconds; see $log"
        sleep 0.2
    done
}

# Compose 2 and BuildKit are in Debian from the release after next on; they need nothing newer than what is here. Only
# two programs are taken out of those packages, into the folder where the client looks for its plugins, so apt's own
# state stays as it is.
install_plugins() {
    local shop
    shop=$(mktemp -d)
    mkdir -p "$shop"/{state/lists/partial,cache/archives/partial,parts,preferences,unpacked} "$plugins"
    : >"$shop/status"
    # Its index may be older than it says it would be; the signature is checked all the same.
    printf '%s\n' 'Types: deb' "URIs: $(mirror)" 'Suites: forky' 'Components: main' \
        'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' 'Check-Valid-Until: no' 'Check-Date: no' \
        >"$shop/parts/forky.sources"
    printf '%s "%s";\n' Dir::State "$shop/state" Dir::State::status "$shop/status" Dir::Cache "$shop/cache" \
        APT::Sandbox::User root Dir::Etc::sourcelist /dev/null Dir::Etc::sourceparts "$shop/parts" \
        Dir::Etc::preferencesparts "$shop/preferences" >"$shop/apt.conf"
    (
        export APT_CONFIG=$shop/apt.conf
        cd "$shop/unpacked"
        apt-get -qq update && apt-get -qq download docker-compose docker-buildx
        for package in *.deb; do dpkg --extract "$package" .; done
        cp usr/libexec/docker/cli-plugins/docker-{compose,buildx} "$plugins/"
    ) >/dev/null
    rm -rf "$shop"
}

has_image() { docker image inspect "$1" >/dev/null 2>&1; }

# The smallest Debian, with what this machine needs to reach its package indexes: certificates and pip's settings.
import_debian() {
    local root
    root=$(mktemp -d)
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$(mirror)" >/dev/null
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    [[ ! -f /etc/pip.conf ]] || cp /etc/pip.conf "$root/etc/"
    printf '%s\n' 'Dir::Cache::pkgcache "";' 'Dir::Cache::srcpkgcache "";' \
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' >"$root/etc/apt/apt.conf.d/no-caches"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/* \
        "$root"/usr/share/{doc,man,info,locale}/* "$root"/var/log/*
    tar -C "$root" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' --create . \
        | docker import --change 'CMD ["bash"]' - debian:bookworm-slim >/dev/null
    rm -rf "$root"
}

make_stand_ins() {
    local name
    [[ -n $(mirror) ]] || apt-get -qq update
    for name in debian:bookworm-slim python:3.11-slim-bookworm postgres:15-alpine; do
        has_image "$name" && continue
        say "making a stand-in for $name"
        case $name in
            debian:*) import_debian ;;
            python:*) docker build --quiet --tag "$name" --file stand-ins/Dockerfile.python stand-ins >/dev/null ;;
            postgres:*) docker build --quiet --tag "$name" --file stand-ins/Dockerfile.postgres stand-ins >/dev/null ;;
        esac
    done
}

up() {
    answers || start_engine
    if is_ours; then
        [[ -x $plugins/docker-compose && -x $plugins/docker-buildx ]] || install_plugins
        install_packages docker-compose
        make_stand_ins
    fi
    docker compose version >/dev/null 2>&1 || cannot "an engine answers, but 'docker compose' is missing"
    say "engine $(docker version --format '{{.Server.Version}}'), compose $(docker compose version --short)"
}

stop() {
    is_ours || return 0
    local pid
    pid=$(<"$pid_file")
    kill "$pid"
    tail --pid="$pid" --follow=descriptor /dev/null
}

case ${1:-up} in
    up)
        # One at a time: a second caller finds the work done.
        exec 9>"${TMPDIR:-/tmp}/migrator-engine.lock"
        flock 9
        up
        ;;
    stop) stop ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' engine.sh >&2
        exit 2
        ;;
esac
