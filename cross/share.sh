# What packages and archives hold beside the programs. Sourced behind targets.sh, not run.
# shellcheck shell=bash

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
# shellcheck disable=SC2034 # used by those that source this
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

# native: the program for this machine, which writes manual and completions: it has the same command line. OLTR_PROGRAM names one
# that is there. It is given away to nobody, and with the date of the commit C files of dependencies, and then all of tract, would
# be compiled anew.
native() {
    if [ -z "${OLTR_PROGRAM:-}" ]; then
        env -u SOURCE_DATE_EPOCH cargo build --release --locked --bin oltr >&2
        OLTR_PROGRAM=target/release/oltr
    fi
    echo "$OLTR_PROGRAM"
}

# beside SHARE: manual, completions, bundle and documents below the folder SHARE, which is usr/share of a system.
beside() {
    local program
    program=$(native)
    mkdir -p "$1/doc/oltr" "$1/man/man1"
    install -Dm 644 models/everyday.onnx "$1/oltr/everyday.onnx"
    install -m 644 models/everyday.card.md README.md CHANGELOG.md docs/guide/{aim,boards,link}.md "$1/doc/oltr/"
    cat LICENSE-MIT LICENSE-APACHE >"$1/doc/oltr/copyright"
    "$program" generate manual "$1/man/man1"
    gzip -9n "$1"/man/man1/*.1 "$1/doc/oltr/CHANGELOG.md"
    completions bash "$1/bash-completion/completions/oltr"
    completions zsh "$1/zsh/vendor-completions/_oltr"
    completions fish "$1/fish/vendor_completions.d/oltr.fish"
}

# completions SHELL FILE
completions() {
    mkdir -p "$(dirname "$2")"
    "$(native)" generate completions "$1" >"$2"
}
