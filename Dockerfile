# The edge as an image: no shell, no package manager, not root. Its root file system can be read-only: all that it writes
# goes to /var/lib/pierhead.
#
#   docker build -t pierhead .
#   docker run --read-only --cap-drop ALL -p 5443:5443 -p 127.0.0.1:5000:5000 -v pierhead:/var/lib/pierhead pierhead
#
# Both images are pinned by digest; the runtime is pinned by the lock file (the package `node`).
ARG BUILD_IMAGE=node:24-bookworm-slim@sha256:6f7b03f7c2c8e2e784dcf9295400527b9b1270fd37b7e9a7285cf83b6951452d
ARG BASE_IMAGE=gcr.io/distroless/cc-debian12:nonroot@sha256:9dac0a79194e45a7da0158a9c6da57b217585af0786db3845d1f0ec1a0dd182f

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build

# What runs: the compiled code and the libraries it needs, nothing that only builds or tests.
FROM ${BUILD_IMAGE} AS app
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev
COPY --from=build /build/dist dist
# An empty folder for the image's user, so that a fresh volume belongs to it.
RUN mkdir -p /state/pierhead

FROM ${BASE_IMAGE}
COPY --from=app /app /app
COPY --from=app --chown=65532:65532 /state/pierhead /var/lib/pierhead
ENV NODE_ENV=production
WORKDIR /var/lib/pierhead
VOLUME /var/lib/pierhead
USER 65532:65532
EXPOSE 5443 5000
STOPSIGNAL SIGTERM
ENTRYPOINT ["/app/node_modules/node/bin/node", "/app/dist/main.js"]
# In a container the network is the container's own: what is published decides who reaches the plain listener.
CMD ["serve", "--https", "0.0.0.0:5443", "--http", "0.0.0.0:5000", "--admin", "127.0.0.1:5001"]
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["/app/node_modules/node/bin/node", "/app/dist/main.js", "health"]
