# syntax=docker/dockerfile:1
# A static binary (musl) in an image with nothing else: no shell, no libc, nothing to write to. Run it with a read-only root; what
# it may write (audit, recordings, --hlog) goes to a volume.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache musl-dev
WORKDIR /build
# The dependencies first, from the manifests alone, so that a change in src/ does not rebuild them.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src benches \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs \
    && for bench in $(sed -n '/^\[\[bench\]\]/,/^$/s/^name = "\(.*\)"/\1/p' Cargo.toml); do \
           echo 'fn main() {}' > "benches/$bench.rs"; \
       done \
    && cargo build --release --locked --bin brownout \
    && rm -rf src benches
COPY . .
# Copied files may be older than what was just built: cargo goes by the time of change.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked --bin brownout \
    && strip --strip-debug target/release/brownout

FROM scratch
COPY --from=build /build/target/release/brownout /usr/local/bin/brownout
# A number: there is no /etc/passwd to look a name up in.
USER 8474:8474
# The admin endpoint listens on the container's loopback alone: docker exec reaches it, the network does not. Where the configuration
# has a token_file, BROWNOUT_TOKEN_FILE must name it too, for the health check.
HEALTHCHECK --interval=5s --timeout=3s --start-period=5s --retries=5 \
    CMD ["/usr/local/bin/brownout", "stats", "--admin", "http://127.0.0.1:8474"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/brownout"]
CMD ["run", "-c", "/etc/brownout/brownout.toml"]
