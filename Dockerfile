# One image for both ways to run the daemon, on Debian 12. Two targets:
#
#   serve  the daemon alone, for production:
#            docker build --target serve -t durabletask-postgres .
#            docker run -p 127.0.0.1:4001:4001 -e DURABLETASK_POSTGRES_URL=postgresql://... \
#              -e DURABLETASK_LISTEN_INSECURE=true durabletask-postgres
#          Where more than this machine can connect, give it TLS and an access file instead of
#          DURABLETASK_LISTEN_INSECURE, see deploy/ACCESS.md.
#   dev    (default) with PostgreSQL bundled: runs everything, keeps its data in the volume /data:
#            docker run -p 127.0.0.1:8080:8080 -v data:/data durabletask-postgres:dev
#
# A tag may mean another image tomorrow. To build on the one that you have tested, give its digest:
# --build-arg DEBIAN_IMAGE=debian@sha256:..., as `docker buildx imagetools inspect` shows it.
#
# Both run as uid 65532. `dev` creates the schema, and task hubs on first use.

ARG DEBIAN_IMAGE=debian:12-slim
FROM ${DEBIAN_IMAGE} AS base
COPY deploy/install deploy/packages.txt /src/deploy/
RUN /src/deploy/install run && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 65532 durabletask \
 && useradd --uid 65532 --gid 65532 --no-create-home --home-dir / --shell /usr/sbin/nologin durabletask

FROM base AS build
RUN /src/deploy/install run build
COPY . /src
WORKDIR /src
# The commit that `durabletask-sidecar version` names, where .git is not part of the context.
ARG DT_COMMIT=""
RUN cmake --preset release \
 && DT_COMMIT="$DT_COMMIT" cmake --build --preset release --target durabletask-sidecar \
 && cmake --install build/release --prefix /out --strip

FROM base AS serve
LABEL org.opencontainers.image.title="durabletask-postgres" \
      org.opencontainers.image.description="Durable Task sidecar that keeps everything in PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/bin/durabletask-sidecar /usr/local/bin/durabletask-sidecar
USER 65532:65532
ENV DURABLETASK_LISTEN_ADDRESSES=0.0.0.0:4001
EXPOSE 4001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["durabletask-sidecar", "healthcheck", "--address", "127.0.0.1:4001"]
ENTRYPOINT ["durabletask-sidecar"]
CMD ["serve"]

FROM serve AS dev
USER root
RUN /src/deploy/install postgres && rm -rf /var/lib/apt/lists/* \
 && install -d -o 65532 -g 65532 -m 0700 /data
USER 65532:65532
# For development: whoever reaches the published port may do everything.
ENV DURABLETASK_LISTEN_ADDRESSES=0.0.0.0:4001,0.0.0.0:8080 \
    DURABLETASK_LISTEN_INSECURE=true \
    DURABLETASK_DEV_DATA_DIR=/data/durabletask
EXPOSE 8080
VOLUME /data
CMD ["dev"]
