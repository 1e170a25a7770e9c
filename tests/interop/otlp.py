"""Reads an OTLP request in JSON by OpenTelemetry's own schema, which refuses what it does not know, and prints its spans."""

import re
import sys

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

with open(sys.argv[1], encoding="utf-8") as file:
    text = file.read()
# OTLP writes ids as hexadecimal digits where JSON of Protobuf has base64, which the same characters are too
request = json_format.Parse(text, ExportTraceServiceRequest())
assert all(re.fullmatch("[0-9a-f]{32}", digits) for digits in re.findall('"traceId":"([^"]*)"', text))
for resource in request.resource_spans:
    assert any(attribute.key == "service.name" for attribute in resource.resource.attributes)
    for scope in resource.scope_spans:
        for span in scope.spans:
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            print(Span.SpanKind.Name(span.kind), span.name, Status.StatusCode.Name(span.status.code))
