# shellcheck shell=bash
# shellcheck disable=SC2154 # run.sh sets binary and work
# The Dockerfile, built on stand-ins for its bases, as no registry of images is asked; and what comes out of it, confined as in a pod.
# IMAGE_BUILD=full compiles in the build stage what IMAGE_PROFILE says (dev), which takes minutes. Else a stand-in for cargo gives out the
# binary that is there.
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo --preserve-env=PATH)
images="$work/images"

build_with() {
    "${as_root[@]}" env BUILDAH_ISOLATION=chroot buildah --root "$images/root" --runroot "$images/run" --storage-driver vfs "$@"
}

# standin NAME DIRECTORY [ENVIRONMENT]: an image of what is in the directory
standin() {
    local container
    container=$(build_with from scratch) &&
        build_with add --quiet "$container" "$2" / &&
        build_with config --env PATH=/usr/local/bin:/usr/bin:/bin ${3:+--env "$3"} "$container" &&
        build_with commit --quiet "$container" "$1"
}

# What distroless/cc has that a program of ours needs, and nothing else: no shell
runtime_standin() {
    local root="$images/runtime" library
    mkdir -p "$root"/{etc/ssl/certs,home/nonroot,proc,run,tmp} &&
        printf 'root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$root/etc/passwd" &&
        cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/" || return
    ldd "$binary" | grep -o '/[^ ]*' | while read -r library; do
        case "$library" in
            */libgcc_s.so.* | */libm.so.* | */libc.so.* | */ld-linux-*) ;;
            *)
                echo "distroless/cc has no $library"
                return 1
                ;;
        esac
        mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library" || return
    done || return
    standin runtime "$root"
}

# This machine's compiler and tools, mounted where the image of Rust has them
build_standin() {
    local root="$images/build"
    mkdir -p "$root"/{etc,proc,tmp,build,usr/{bin,include,lib,lib64,libexec,share,local/{bin,cargo,rust}}} &&
        ln -s usr/bin usr/lib usr/lib64 "$root/" &&
        cp -r /etc/alternatives /etc/ssl /etc/resolv.conf /etc/hosts /etc/nsswitch.conf /etc/passwd "$root/etc/" || return
    if [ "${IMAGE_BUILD:-}" = full ]; then
        ln -s ../rust/bin/{cargo,rustc} "$root/usr/local/bin/"
    else
        cp "$binary" "$root/usr/local/prebuilt" &&
            install -m 0755 tests/deploy/cargo.sh "$root/usr/local/bin/cargo"
    fi && standin build "$root" CARGO_HOME=/usr/local/cargo
}

build_stage() {
    local directory mounts=()
    for directory in bin include lib lib64 libexec share; do
        [ ! -d "/usr/$directory" ] || mounts+=(--volume "/usr/$directory:/usr/$directory:ro")
    done
    build_with bud --quiet --pull-never --target build --tag built --build-arg BUILD_IMAGE=localhost/build \
        --build-arg PROFILE="${IMAGE_PROFILE:-dev}" "${mounts[@]}" \
        --volume "$(rustc --print sysroot):/usr/local/rust:ro" .
}

# The last stage, with the build stage's outcome as the image that was made of it
last_stage() {
    build_with bud --quiet --pull-never --format docker --tag obo-proxy --build-arg RUNTIME_IMAGE=localhost/runtime \
        --build-arg REVISION=0123456789abcdef --build-context build=container-image://localhost/built . &&
        build_with inspect --type image obo-proxy >"$images/inspected.json"
}

# look COMMAND ARGUMENT: at the image, whose files are root's
look() {
    "${as_root[@]}" "$python" tests/deploy/image.py "$@"
}

# in_pod COMMAND...: in namespaces of its own, which end with it
in_pod() {
    "${as_root[@]}" unshare --net --mount --pid --fork --kill-child -- "$@"
}

# What the compiler read for the binary is among what .dockerignore lets through, and the manifest names nothing else
context_is_whole() {
    local context="$images/context" let_through others
    let_through=$(sed -n 's/^!//p' .dockerignore) && [ "$(sed '/^#/d; /^!/d' .dockerignore)" = '*' ] || return
    mkdir "$context" && xargs cp -r --target-directory="$context" <<<"$let_through" || return
    others=$(tr ' ' '\n' <"$binary.d" | sed -n '2,$ { \,/src/,! p }') || return
    echo "$others" && [ -s "$binary.d" ] && [ -z "$others" ] || return
    cargo metadata --manifest-path "$context/Cargo.toml" --format-version 1 --no-deps --offline --locked
}

mkdir -p "$images"
python=$(command -v python3)
check "image: Dockerfile" hadolint --no-color Dockerfile
check "image: the build has what it reads" context_is_whole
check "image: stand-in for the runtime base" runtime_standin
check "image: stand-in for the build base" build_standin
check "image: the build stage" build_stage
check "image: the last stage" last_stage
if container=$(build_with from --pull-never obo-proxy 2>"$work/output") && root=$(build_with mount "$container"); then
    check "image: settings and labels" look settings "$images/inspected.json"
    check "image: no shell, nothing setuid, one program" look files "$root"
    if [ "${IMAGE_BUILD:-}" = full ]; then
        check "image: what it is made of, and not where" look dependencies "$root"
    else
        echo "skip  image: what it is made of, and not where (IMAGE_BUILD=full)"
    fi
    check "image: check of what is shipped" in_pod "$python" tests/deploy/image.py check "$root"
    check "image: the demo, confined" in_pod "$python" tests/deploy/image.py demo "$root"
    check "compose: the demo, with the README's lines" in_pod "$python" tests/deploy/compose.py demo "$root"
    check "compose: the gateway" in_pod "$python" tests/deploy/compose.py gateway "$root"
    look files "$root"
else
    check "image: from it" cat "$work/output" /nonexistent
fi
"${as_root[@]}" rm -rf "$images"
