# The `pgqueue` command with the dashboard as an image; mount or copy the modules that hold your actors into /app.
FROM python:3.13-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir "pgqueue-engine[dashboard,fast,otel] @ file://$(echo /wheels/*.whl)" \
    && useradd --system --no-create-home pgqueue
USER pgqueue
WORKDIR /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1
EXPOSE 8417 9191
ENTRYPOINT ["pgqueue"]
