#!/usr/bin/env bash
# Compiles the core, without Python, for aarch64, and runs its tests in an emulator: few cases of each, in a minute.
# Uses the rustup target where it is installed. Else Debian's compiler with its arm64 standard library, unpacked into a
# folder of its own: nothing is installed, and dpkg learns no foreign architecture.
set -euo pipefail
cd "$(dirname "$0")/.."

target=aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"

check() {
  # A little optimisation: more would take longer than it saves in the emulator. No doctests: rustdoc is not of this compiler.
  export CARGO_PROFILE_TEST_OPT_LEVEL=1 CARGO_PROFILE_TEST_DEBUG=false PROPTEST_CASES=${PROPTEST_CASES:-8}
  cargo test --manifest-path rust/Cargo.toml --locked --tests --target "$target" --target-dir rust/target/aarch64 --quiet
}

if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
  check
  exit 0
fi

room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
mkdir -p "$room"/{lists/partial,cache/archives/partial,debs,root}
cat >"$room/apt.conf" <<CONF
Dir::State::lists "$room/lists";
Dir::Cache "$room/cache";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
CONF
export APT_CONFIG="$room/apt.conf"
apt-get update -qq
std=$(apt-cache depends --no-recommends libstd-rust-web-dev:amd64 | sed -n 's/.*Depends: \(libstd-rust-web-[0-9.]*\).*/\1/p')
llvm=$(apt-cache depends --no-recommends "$std:amd64" | sed -n 's/.*Depends: \(libllvm[0-9]*\).*/\1/p')
(cd "$room/debs" && apt-get download -qq rustc-web:amd64 "$std:amd64" "$llvm:amd64" libstd-rust-web-dev:{amd64,arm64})
for deb in "$room"/debs/*.deb; do
  dpkg-deb -x "$deb" "$room/root"
done

export LD_LIBRARY_PATH="$room/root/usr/lib/x86_64-linux-gnu"
export RUSTC="$room/root/usr/bin/rustc"
"$RUSTC" --version
check
