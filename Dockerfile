# syntax=docker/dockerfile:1

# --- build: the environment, created by the same script as with `make install` ---
FROM python:3.11-slim AS build
WORKDIR /src
ENV QMTL_RUNTIME_ONLY=1 PIP_NO_CACHE_DIR=1

COPY pyproject.toml requirements-runtime.lock README.md LICENSE ./
COPY scripts/install.sh scripts/install.sh
COPY dagmanager dagmanager
COPY flows flows
COPY operators operators
COPY sinks sinks
RUN scripts/install.sh /opt/qmtl

# --- runtime: the environment only, without sources ---
FROM python:3.11-slim AS runtime
RUN useradd --system --uid 10001 --home-dir /var/lib/qmtl --create-home qmtl
COPY --from=build /opt/qmtl /opt/qmtl
ENV PATH=/opt/qmtl/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
# The recovery folder and embedded stores are here; mount a volume to keep them.
WORKDIR /var/lib/qmtl
VOLUME /var/lib/qmtl
STOPSIGNAL SIGTERM
# Settings come from the environment or a mounted file; see `qmtl service dagmanager config sample`.
# The run updates its heartbeat file at every poll (claim_poll_seconds, 5 s).
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, sys, time; sys.exit(time.time() - os.stat('/var/lib/qmtl/heartbeat').st_mtime > 60)"]
ENTRYPOINT ["qmtl"]
CMD ["service", "dagmanager", "run", "--heartbeat", "/var/lib/qmtl/heartbeat"]
