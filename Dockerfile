FROM node:26-bookworm-slim AS build
WORKDIR /build
COPY package.json package-lock.json ./
# No dependency needs its install script, so none is run.
RUN npm ci --workspaces=false --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.types.json ./
COPY src src
COPY plugins plugins
COPY routes routes
# TRACES=true: for an image that can send traces (docs/traces.md).
ARG TRACES=false
RUN npm run build && if [ "$TRACES" = true ]; then npm run add-traces; fi && npm prune --workspaces=false --omit=dev --ignore-scripts --no-audit --no-fund
# Beside dist: the Lua scripts, the migrations and the files of the console that it loads through "imports" in package.json.
RUN mkdir /app \
  && mv package.json dist node_modules /app/ \
  && find src/stores routes/console -type f \
    \( -name '*.sql' -o -name '*.lua' -o -name '*.html' -o -name '*.css' -o -name '*.svg' \) -exec cp --parents -t /app {} +

FROM node:26-bookworm-slim
# Node reaps only its own children, so tini is process 1. It passes every signal on, HUP and TTIN as well as TERM.
RUN apt-get update \
  && apt-get install -y --no-install-recommends tini \
  && rm -rf /var/lib/apt/lists/* \
  && install -d -o node -g node -m 0700 /data
WORKDIR /app
# Owned by root: the service cannot change its own code.
COPY --from=build /app ./
COPY LICENSE ./
ENV NODE_ENV=production DATA_DIR=/data
VOLUME /data
# The user `node`, as numbers: Kubernetes' runAsNonRoot cannot check a name.
USER 1000:1000
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MANAGEMENT_PORT || process.env.PORT || 8000}/health/live`, { signal: AbortSignal.timeout(4000) }).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# No core dumps: that of an aborted worker would contain the keys. prlimit replaces itself with Node, and loses no signal.
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/prlimit", "--core=0", "--"]
CMD ["node", "dist/src/cli/main.js", "serve"]
