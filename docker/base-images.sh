#!/bin/sh
# Makes sure that the two base images of docker/Dockerfile are there.
#
#   docker/base-images.sh            pull them; where no image registry answers, make stand-ins
#
# A stand-in has the name the Dockerfile uses and is made of what this machine has: Debian packages (debootstrap)
# and the Rust toolchain of the calling user. It trusts the certificate authorities that this machine trusts, so
# that builds behind a company's gateway work as they do outside of Docker. Needs root, debootstrap and rustup.
set -eu

DEBIAN=debian:bookworm-slim
RUST=rust:1-slim-bookworm

main() {
    if present "$DEBIAN" && present "$RUST"; then
        echo "base images: both are here"
        return
    fi
    if pull "$DEBIAN" && pull "$RUST"; then
        echo "base images: pulled"
        return
    fi
    echo "base images: no registry answers, making stand-ins"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    root=$work/root
    debootstrap --variant=minbase --include=ca-certificates bookworm "$root" >"$work/log" 2>&1 || fail "$work/log"
    trust_what_we_trust
    present "$DEBIAN" || import_root "$DEBIAN" --change 'CMD ["bash"]'
    present "$RUST" || import_rust
    echo "base images: made"
}

present() {
    docker image inspect "$1" >/dev/null 2>&1
}

pull() {
    present "$1" || timeout 120 docker pull --quiet "$1" >/dev/null 2>&1
}

trust_what_we_trust() {
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
}

# The official image of Rust is Debian with a C linker, rustup and one toolchain under /usr/local.
import_rust() {
    chroot "$root" sh -c 'apt-get update -q && apt-get install -qy --no-install-recommends gcc libc6-dev' \
        >"$work/log" 2>&1 || fail "$work/log"
    trust_what_we_trust
    toolchain=$(cd / && rustc --print sysroot)
    name=$(basename "$toolchain")
    mkdir -p "$root/usr/local/cargo/bin" "$root/usr/local/rustup/toolchains/$name"
    tar -C "$toolchain" --exclude=./share/doc --exclude=./share/man -cf - . |
        tar -C "$root/usr/local/rustup/toolchains/$name" -xf -
    rustup=$(command -v rustup)
    cp -L "$rustup" "$root/usr/local/cargo/bin/rustup"
    for tool in cargo rustc rustdoc; do
        ln -f "$root/usr/local/cargo/bin/rustup" "$root/usr/local/cargo/bin/$tool"
    done
    printf 'version = "12"\nprofile = "minimal"\ndefault_toolchain = "%s"\n' "$name" \
        >"$root/usr/local/rustup/settings.toml"
    import_root "$RUST" \
        --change 'ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
        --change 'ENV CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt' \
        --change 'CMD ["bash"]'
}

# import_root NAME CHANGE...
import_root() {
    name_of_image=$1
    shift
    tar -C "$root" --numeric-owner \
        --exclude='./var/cache/apt/*' --exclude='./var/lib/apt/lists/*' --exclude='./var/log/*' \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -cf - . |
        docker import --message 'stand-in made by docker/base-images.sh' "$@" - "$name_of_image" >/dev/null
    echo "base images: $name_of_image made from Debian packages"
}

fail() {
    tail -n 30 "$1" >&2
    echo "base images: making the stand-ins failed" >&2
    exit 1
}

main
