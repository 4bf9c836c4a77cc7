#!/usr/bin/env bash
# Provides tmux, the terminal in which tests look at what the program draws: where it is missing, it is installed from
# Debian's packages. Running it again changes nothing.
#
# Exit code 0: tmux is there. 3: it can't be had here; the last line says why.
set -euo pipefail

cannot() {
    printf 'terminal: no tmux: %s\n' "$*" >&2
    exit 3
}

get_tmux() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends tmux >/dev/null; }

command -v tmux >/dev/null && exit 0
[[ $(id -u) == 0 ]] || cannot "it isn't installed, and only root can install it"
command -v apt-get >/dev/null || cannot "it isn't installed, and there is no apt-get to install it with"
printf 'terminal: installing tmux\n' >&2
# What apt knows of the mirror may be nothing, or old: then it is asked anew.
get_tmux 2>/dev/null || { apt-get -qq update && get_tmux; } || cannot "Debian's package tmux can't be installed"
