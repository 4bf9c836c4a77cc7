#!/usr/bin/env bash
# Provides tmux, the terminal in which tests look at what the program draws, and the shells zsh and fish, in which they
# press the Tab key: what is missing is installed from Debian's packages. Running it again changes nothing.
#
# Exit code 0: all are there. 3: one can't be had here; the last line says why.
set -euo pipefail

missing=()
for program in tmux zsh fish; do
    command -v "$program" >/dev/null || missing+=("$program")
done
((${#missing[@]})) || exit 0

cannot() {
    printf 'terminal: no %s: %s\n' "${missing[*]}" "$*" >&2
    exit 3
}

get() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null; }

[[ $(id -u) == 0 ]] || cannot "only root can install what is missing"
command -v apt-get >/dev/null || cannot "there is no apt-get to install it with"
printf 'terminal: installing %s\n' "${missing[*]}" >&2
# What apt knows of the mirror may be nothing, or old: then it is asked anew.
get 2>/dev/null || { apt-get -qq update && get; } || cannot "Debian's packages can't be installed"
