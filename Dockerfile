# One image for the API, the workers, the sweeper and the bootstrap: what a container does is its command.
FROM python:3.11.17-slim AS build

# Unset: pip's own defaults. With an index of CPU-only wheels the image is several gigabytes smaller.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

RUN python -m venv /opt/palimpsest
ENV PATH=/opt/palimpsest/bin:$PATH
WORKDIR /srv/palimpsest

# The dependencies in a layer of their own, which a change of our code leaves as it is.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
      > requirements.txt \
    && pip install --requirement requirements.txt --constraint constraints.txt

COPY README.md NOTICE ./
COPY app app
COPY worker worker
COPY sweeper sweeper
COPY migrations migrations
COPY base_models base_models
RUN pip install --no-deps --editable .


FROM python:3.11.17-slim

RUN useradd --uid 10001 --create-home palimpsest \
    && install --directory --owner palimpsest --mode 0700 /var/lib/palimpsest
COPY --from=build /opt/palimpsest /opt/palimpsest
COPY --from=build /srv/palimpsest /srv/palimpsest

ENV PATH=/opt/palimpsest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PALIMPSEST_HOME=/var/lib/palimpsest \
    PALIMPSEST_API_HOST=0.0.0.0 \
    PALIMPSEST_METRICS_HOST=0.0.0.0
WORKDIR /srv/palimpsest
# By number, so that a cluster can see that it is not root.
USER 10001
EXPOSE 8000

# For the API, which is the default command; the others have none, because a lease that expires tells more.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/ready', timeout=4)"]

ENTRYPOINT ["palimpsest"]
CMD ["api"]
