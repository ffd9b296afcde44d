# What the scripts of this folder share: the targets, their toolchains, emulators and cores. Sourced, not run.
# shellcheck shell=bash

# The targets, the first being what packages for 64-bit boards hold: static, so that it runs on every distribution.
TARGETS=(aarch64-unknown-linux-musl aarch64-unknown-linux-gnu armv7-unknown-linux-gnueabihf x86_64-unknown-linux-musl)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER=arm-linux-gnueabihf-gcc
# musl comes with Rust's own standard library; only C files in dependencies need a compiler, and any for the machine do.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc AR_aarch64_unknown_linux_musl=aarch64-linux-gnu-ar
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
export CC_x86_64_unknown_linux_musl=x86_64-linux-gnu-gcc AR_x86_64_unknown_linux_musl=x86_64-linux-gnu-ar

# fail TEXT: ends the script.
fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

# debian PACKAGE…: installs what is not there yet.
debian() {
    local missing=() package
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || fail "needs ${missing[*]} of Debian or Ubuntu, or what your system calls them"
    local as=()
    [ "$(id -u)" = 0 ] || as=(sudo)
    "${as[@]}" apt-get update
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# emulator CORE: how to run programs as the core does.
emulator() {
    case $1 in
    cortex-a7) echo "qemu-arm -cpu $1 -L $(sysroot armv7-)" ;;
    *) echo "qemu-aarch64 -cpu $1" ;;
    esac
}

# sysroot TARGET: the folder with the target's shared libraries.
sysroot() {
    case $1 in
    aarch64-*) echo /usr/aarch64-linux-gnu ;;
    armv7-*) echo /usr/arm-linux-gnueabihf ;;
    *) fail "'$1' is none of ${TARGETS[*]}" ;;
    esac
}

# kernel_target CORE: the target that the kernels are built for to run on the core. For 64 bits with musl, which takes no
# other compiler and linker than Rust's.
kernel_target() {
    case $1 in
    cortex-a7) echo armv7-unknown-linux-gnueabihf ;;
    *) echo aarch64-unknown-linux-musl ;;
    esac
}

# kernels_program CORE: builds the kernels' own program; its path.
kernels_program() {
    local target
    target=$(kernel_target "$1")
    cargo build --release --locked --quiet --package oltr-kernels --target "$target" --target-dir "$root/target/kernels"
    echo "$root/target/kernels/$target/release/oltr-kernels"
}

# counting_plugin: builds the plugin that counts instructions; its path.
counting_plugin() {
    mkdir -p "$root/target/count"
    cc -O2 -shared -fPIC -o "$root/target/count/instructions.so" "$root/cross/count/instructions.c"
    echo "$root/target/count/instructions.so"
}
