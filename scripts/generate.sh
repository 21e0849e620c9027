#!/bin/sh
# Regenerates lib/wire/generated from lib/wire/proto. Needs protoc (Debian: protobuf-compiler libprotobuf-dev); run only when a .proto changes.
set -eu
cd "$(dirname "$0")/.."
out=lib/wire/generated
rm -rf "$out"
mkdir -p "$out"
protoc --plugin=protoc-gen-ts_proto=node_modules/.bin/protoc-gen-ts_proto -I lib/wire/proto -I /usr/include \
  --ts_proto_out="$out" \
  --ts_proto_opt=importSuffix=.ts,esModuleInterop=true,enumsAsLiterals=true,outputServices=grpc-js,oneof=unions-value,env=node,forceLong=number,useOptionals=none,unrecognizedEnum=true,outputJsonMethods=false,outputPartialMethods=false,outputTypeRegistry=false,removeEnumPrefix=true,useExactTypes=false,outputTypeAnnotations=false,annotateFilesWithVersion=false \
  lib/wire/proto/*.proto
