#!/usr/bin/env bash
# Debian packages that CI needs beyond a C compiler, Python with venv, and Rust (1.89 or newer, by rustup).
# chromium: opens pages in the tests. dials: reader in the tests. g++: emulates graphics cards.
# gcc-aarch64-linux-gnu and qemu-user-static: the core's tests on aarch64.
set -euo pipefail

packages=(chromium dials g++ gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -eq 0 ]; then
  echo "all there: ${packages[*]}"
  exit 0
fi

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
echo "installed: ${missing[*]}"
