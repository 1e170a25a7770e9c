# The image: docker build --tag obo-proxy .
#
# Both bases are named by the digest of their index, which has amd64 and arm64. To see what a tag means today, and write it here:
#   docker buildx imagetools inspect docker.io/library/rust:1.95.0-trixie --format '{{.Manifest.Digest}}'
# The digests below were read in Dockerfiles and workflows that others publish: compare them before you rely on them. Renovate keeps them
# up to date. Each platform is compiled natively (buildx with a node for each, or QEMU), by the same instructions:
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max .
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-trixie@sha256:f49565f188ee00bc2a18dd418183f2c5f23ef7d6e691890517ed341a598f67c3
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian13:nonroot@sha256:54df941ed0d06a1bd95ef5e0ce391fd8d9f94b64782dc9a60062727849ee3f97

FROM ${BUILD_IMAGE} AS build
ARG PROFILE=release
# No path of the build and no time is in the program: nothing in it depends on where and when it was built
ENV SOURCE_DATE_EPOCH=0 \
    RUSTFLAGS="--remap-path-prefix=/usr/local/cargo/registry/src=crates --remap-path-prefix=/build=." \
    CFLAGS="-ffile-prefix-map=/usr/local/cargo/registry/src=crates -ffile-prefix-map=/build=."
WORKDIR /build
# Puts the list of dependencies into the binary, where scanners of images read it
RUN cargo install --locked --root /usr/local cargo-auditable@0.7.7
# The dependencies without our sources: a layer that stays until Cargo.lock changes. A cache mount would not leave the machine, while
# layers go where --cache-to puts them
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
    && cargo auditable build --locked --profile "${PROFILE}" --bin obo-proxy
COPY src src
# The sources may be older than what was just built in their place
RUN touch src/main.rs src/lib.rs \
    && cargo auditable build --locked --profile "${PROFILE}" --bin obo-proxy \
    && install -D -m 0755 target/*/obo-proxy /out/obo-proxy

FROM ${RUNTIME_IMAGE}
ARG RUNTIME_IMAGE
COPY LICENSE /usr/share/doc/obo-proxy/LICENSE
COPY --from=build /out/obo-proxy /usr/local/bin/obo-proxy
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
LABEL org.opencontainers.image.title="obo-proxy" \
      org.opencontainers.image.description="A reverse-proxy sidecar that exchanges the caller's bearer token On-Behalf-Of the user" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}"
USER 65532:65532
EXPOSE 8080 9902
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/obo-proxy", "health"]
ENTRYPOINT ["/usr/local/bin/obo-proxy"]
CMD ["run"]
