# The static binary and nothing else: no shell, no package manager, no root.
#
# The release builds it from the binaries that it has just published, one folder for each architecture:
#   docker buildx build --platform linux/amd64,linux/arm64 --file Dockerfile image
# Not built where gate is developed: there is no container runtime there.
FROM scratch
ARG TARGETARCH
COPY --chmod=0555 ${TARGETARCH}/gate /gate
COPY ${TARGETARCH}/LICENSE /LICENSE
# nobody; state goes to a volume that it may write.
USER 65532:65532
ENV GATE_STATE_DIR=/state
ENTRYPOINT ["/gate"]
