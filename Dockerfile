# One image for every role: the service (alone, with its embedded worker, or in front of others), a worker, the sweeper.
# Data goes to /var/lib/gauntlet; nothing else but /tmp needs to be writable.
FROM python:3.11-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# Name a package index that has CPU builds of torch to save several gigabytes; without it the CUDA build is installed.
ARG PIP_EXTRA_INDEX_URL=

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /build
RUN pip install torch==2.13.0 torchvision==0.28.0
COPY requirements.lock .
RUN pip install --no-deps --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-deps --no-build-isolation . \
    && useradd --system --uid 10001 --home-dir /var/lib/gauntlet gauntlet \
    && install --directory --owner gauntlet --group gauntlet /var/lib/gauntlet

WORKDIR /var/lib/gauntlet
USER gauntlet
ENV GAUNTLET_HOST=0.0.0.0 GAUNTLET_VAR_DIR=/var/lib/gauntlet
EXPOSE 8000
CMD ["gauntlet", "serve"]
