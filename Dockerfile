# syntax=docker/dockerfile:1
#
# docker build --build-arg PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm@sha256:<digest> \
#              --build-arg VERSION=<version> --build-arg REVISION=$(git rev-parse HEAD) -t neuroon-consumer .
#
# A tag can be moved, a digest cannot: a release names one. docs/kubernetes.md says where to read it.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/otel.txt requirements/
COPY deploy/image/install.sh deploy/image/
COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
# otel: with traces, 13 MB more.
ARG REQUIREMENTS=runtime
RUN ["deploy/image/install.sh", "/src", "/opt/neuroon"]

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="neuroon-consumer" \
      org.opencontainers.image.description="Paid orders from RabbitMQ become Neuroon conversions" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The base image's own installer goes too, and what Python keeps to bring it back; the folder is the one place that is
# written to, for the SQLite ledger.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
 && python -c "import ensurepip, shutil; shutil.rmtree(*ensurepip.__path__)" \
 && install -d -o 65532 -g 65532 -m 0750 /var/lib/neuroon
COPY --from=build /opt/neuroon /opt/neuroon
# Probes come from outside of the container; elsewhere the default is the loopback.
ENV PATH=/opt/neuroon/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    CONSUMER_HTTP_ADDR=0.0.0.0:8080
# A number, so that Kubernetes can see that it is not root's (runAsNonRoot) without reading the image's users.
USER 65532:65532
WORKDIR /var/lib/neuroon
VOLUME ["/var/lib/neuroon"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-m", "consumer.probe"]
# The exec form: the program itself is process 1 and gets SIGTERM.
ENTRYPOINT ["neuroon-consumer"]
CMD ["run"]
