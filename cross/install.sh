#!/bin/sh
# Installs oltr from the folder or address of a release, after looking whether the archive is the one that was released:
#
#   sh install.sh --from FOLDER|ADDRESS [--prefix DIR] [--signers FILE] [--target TARGET] [--version VERSION]
#   sh install.sh --uninstall [--prefix DIR]
#
# It takes SHA256SUMS and the archive for this machine, checks the one by the other, and puts program, manual, completions and
# bundle below DIR: /usr/local, or ~/.local for those who may not write there. With --signers, SHA256SUMS.sig must be a signature of
# SHA256SUMS by one of the keys in FILE (as ssh-keygen(1) describes ALLOWED SIGNERS). Nothing is changed before all of that holds.
set -eu

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

usage() {
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2
    exit 2
}

from='' prefix='' signers='' target='' version='' uninstall=''
while [ $# -gt 0 ]; do
    case $1 in
    --uninstall) uninstall=yes ;;
    --from | --prefix | --signers | --target | --version)
        [ $# -gt 1 ] || usage
        case $1 in
        --from) from=$2 ;;
        --prefix) prefix=$2 ;;
        --signers) signers=$2 ;;
        --target) target=$2 ;;
        --version) version=$2 ;;
        esac
        shift
        ;;
    *) usage ;;
    esac
    shift
done

if [ -z "$prefix" ]; then
    prefix=/usr/local
    [ -w "$prefix" ] || prefix=${HOME:?name a folder with --prefix}/.local
fi
list=$prefix/share/oltr/installed

# remove LIST: what an installation put there.
remove() {
    while IFS= read -r file; do
        rm -f "$prefix/$file"
    done <"$1"
    rm -f "$1"
    rmdir "$prefix/share/oltr" "$prefix/share/doc/oltr" 2>/dev/null || :
}

if [ -n "$uninstall" ]; then
    [ -f "$list" ] || fail "$list is not there: nothing was installed below $prefix by this script"
    remove "$list"
    echo "oltr was removed from $prefix"
    exit
fi
[ -n "$from" ] || usage

if [ -z "$target" ]; then
    case $(uname -s)-$(uname -m) in
    Linux-x86_64) target=x86_64-unknown-linux-musl ;;
    Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-musl ;;
    Linux-armv7l | Linux-armv8l) target=armv7-unknown-linux-gnueabihf ;;
    *) fail "there is no archive for $(uname -s) on $(uname -m); build it from its source, see README.md" ;;
    esac
    # A system of 32 bits may run on a kernel of 64.
    if [ "$target" = aarch64-unknown-linux-musl ] && [ "$(getconf LONG_BIT 2>/dev/null)" = 32 ]; then
        target=armv7-unknown-linux-gnueabihf
    fi
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# fetch NAME
fetch() {
    case $from in
    http://* | https://*)
        if command -v curl >/dev/null; then
            curl --fail --silent --show-error --location --output "$work/$1" "$from/$1"
        elif command -v wget >/dev/null; then
            wget --quiet --output-document="$work/$1" "$from/$1"
        else
            fail "needs curl or wget to fetch $from/$1"
        fi
        ;;
    *) cp "$from/$1" "$work/$1" ;;
    esac || fail "$from/$1 cannot be had"
}

fetch SHA256SUMS
if [ -n "$signers" ]; then
    [ -f "$signers" ] || fail "$signers is not there"
    command -v ssh-keygen >/dev/null || fail "needs ssh-keygen (Debian: openssh-client) for --signers"
    fetch SHA256SUMS.sig
    signer=$(ssh-keygen -Y find-principals -f "$signers" -s "$work/SHA256SUMS.sig" 2>/dev/null | head -n 1)
    [ -n "$signer" ] || fail "SHA256SUMS is signed by none of the keys in $signers; nothing was installed"
    ssh-keygen -Y verify -f "$signers" -I "$signer" -n oltr -s "$work/SHA256SUMS.sig" <"$work/SHA256SUMS" >/dev/null 2>&1 ||
        fail "the signature of SHA256SUMS does not fit; nothing was installed"
    echo "signed by $signer"
fi

# A line is a checksum, two characters, and a name.
archive=$(sed -n "s/^[0-9a-f]\{64\} [ *]\(oltr-.*-$target\.tar\.gz\)\$/\1/p" "$work/SHA256SUMS")
[ -z "$version" ] || archive=oltr-$version-$target.tar.gz
case $archive in
'') fail "SHA256SUMS names no archive for $target" ;;
*[!A-Za-z0-9._+-]*) fail "SHA256SUMS names several archives for $target, or one with an odd name; choose with --version" ;;
esac
expected=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]$archive\$/\1/p" "$work/SHA256SUMS")
[ -n "$expected" ] || fail "SHA256SUMS does not name $archive"
fetch "$archive"
if command -v sha256sum >/dev/null; then
    sum=$(sha256sum <"$work/$archive")
else
    sum=$(shasum -a 256 <"$work/$archive")
fi
[ "${sum%% *}" = "$expected" ] || fail "$archive is not what was released: its checksum is ${sum%% *}, must be $expected. Nothing was installed"

mkdir "$work/unpacked"
gzip -dc "$work/$archive" | tar -xf - -C "$work/unpacked"
unpacked=$work/unpacked/${archive%.tar.gz}
"$unpacked/bin/oltr" --version >/dev/null || fail "the program does not run on this machine; nothing was installed"

(cd "$unpacked" && find bin share -type f) | sort >"$work/files"
[ ! -f "$list" ] || remove "$list"
while IFS= read -r file; do
    mkdir -p "$prefix/$(dirname "$file")"
    # A program that runs keeps its file: the new one takes its place.
    cp "$unpacked/$file" "$prefix/$file.new"
    mv "$prefix/$file.new" "$prefix/$file"
done <"$work/files"
mkdir -p "${list%/*}"
cp "$work/files" "$list"
echo "$("$prefix/bin/oltr" --version) is $prefix/bin/oltr; 'man oltr' has the manual"
case :$PATH: in
*":$prefix/bin:"*) ;;
*) echo "$prefix/bin is not in PATH: add it there" ;;
esac
