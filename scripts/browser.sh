#!/usr/bin/env bash
# Provides Chromium, the browser in which a test looks at the HTML report: where it is missing, it is installed from
# Debian's packages. Running it again changes nothing.
#
# Exit code 0: a browser is there. 3: it can't be had here; the last line says why.
set -euo pipefail

cannot() {
    printf 'browser: no Chromium: %s\n' "$*" >&2
    exit 3
}

get_chromium() { DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends chromium >/dev/null; }

command -v chromium >/dev/null && exit 0
[[ $(id -u) == 0 ]] || cannot "it isn't installed, and only root can install it"
command -v apt-get >/dev/null || cannot "it isn't installed, and there is no apt-get to install it with"
printf 'browser: installing Chromium\n' >&2
# What apt knows of the mirror may be nothing, or old: then it is asked anew.
get_chromium 2>/dev/null || { apt-get -qq update && get_chromium; } ||
    cannot "Debian's package chromium can't be installed"
