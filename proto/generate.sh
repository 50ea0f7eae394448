#!/bin/sh
# Generate the protobuf code below the folder given, as airunner/wire/job/v1/*.
set -eu
out=$1
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
bin=$(dirname "$(command -v "$python")")
exec "$python" -m grpc_tools.protoc -Iairunner/wire=proto \
  --plugin=protoc-gen-mypy="$bin/protoc-gen-mypy" \
  --plugin=protoc-gen-mypy_grpc="$bin/protoc-gen-mypy_grpc" \
  --python_out="$out" --grpc_python_out="$out" --mypy_out="$out" --mypy_grpc_out="$out" \
  airunner/wire/job/v1/job.proto
