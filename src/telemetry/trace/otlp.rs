//! Spans as an OTLP request in JSON (OpenTelemetry Protocol 1.x, section OTLP/HTTP): every collector takes it on the port on
//! which it takes Protobuf, it needs no library, and whoever debugs it can read it.

use serde_json::Value as Json;
use serde_json::json;

use crate::telemetry::trace::Kind;
use crate::telemetry::trace::Span;
use crate::telemetry::trace::Value;

/// The flags of a span: it is recorded, and its trace id is random.
const FLAGS: u32 = 0x01;

/// The body that exports `spans` of the service that `resource` describes.
pub fn body<'s>(resource: &[(String, String)], spans: impl Iterator<Item = &'s Span>) -> Vec<u8> {
    let resource: Vec<Json> =
        resource.iter().map(|(name, value)| json!({"key": name, "value": {"stringValue": value}})).collect();
    let scope = json!({"name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION")});
    let spans: Vec<Json> = spans.map(span).collect();
    let request = json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": scope, "spans": spans}],
    }]});
    request.to_string().into_bytes()
}

fn span(span: &Span) -> Json {
    let attributes: Vec<Json> = span
        .attributes
        .iter()
        .map(|(name, value)| match value {
            Value::Text(text) => json!({"key": name, "value": {"stringValue": text}}),
            // 64-bit numbers are text in JSON
            Value::Number(number) => json!({"key": name, "value": {"intValue": number.to_string()}}),
        })
        .collect();
    let mut written = json!({
        "traceId": span.trace.hex(),
        "spanId": span.id.hex(),
        "flags": FLAGS,
        "name": span.name,
        "kind": match span.kind { Kind::Internal => 1, Kind::Server => 2, Kind::Client => 3 },
        "startTimeUnixNano": span.start.as_nanos().to_string(),
        "endTimeUnixNano": span.end.as_nanos().to_string(),
        "attributes": attributes,
        "status": if span.is_error { json!({"code": 2}) } else { json!({}) },
    });
    if let (Some(members), Some(parent)) = (written.as_object_mut(), span.parent) {
        members.insert("parentSpanId".to_owned(), parent.hex().into());
    }
    written
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::trace::SpanId;
    use crate::telemetry::trace::TraceId;

    #[test]
    fn a_request_has_the_form_of_the_specification() {
        let child = Span {
            trace: TraceId(0x5b8e_fff7_9803_8103_d269_b633_813f_c60c),
            id: SpanId(0xeee1_9b7e_c3c1_b174),
            parent: Some(SpanId(0x0ee1_9b7e_c3c1_b173)),
            kind: Kind::Client,
            name: "GET".into(),
            start: Duration::new(1_544_712_660, 5),
            end: Duration::new(1_544_712_661, 0),
            attributes: vec![
                ("server.address", "127.0.0.1".into()),
                ("http.response.status_code", 200.into()),
            ],
            is_error: false,
        };
        let root = Span { parent: None, kind: Kind::Server, is_error: true, ..child.clone() };
        let resource = [("service.name".to_owned(), "orders".to_owned())];
        let body: Json = serde_json::from_slice(&body(&resource, [child, root].iter())).unwrap();
        let resource = &body["resourceSpans"][0]["resource"]["attributes"];
        assert_eq!(resource[0], json!({"key": "service.name", "value": {"stringValue": "orders"}}));
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(
            spans[0],
            json!({
                "traceId": "5b8efff798038103d269b633813fc60c",
                "spanId": "eee19b7ec3c1b174",
                "parentSpanId": "0ee19b7ec3c1b173",
                "flags": 1,
                "name": "GET",
                "kind": 3,
                "startTimeUnixNano": "1544712660000000005",
                "endTimeUnixNano": "1544712661000000000",
                "attributes": [
                    {"key": "server.address", "value": {"stringValue": "127.0.0.1"}},
                    {"key": "http.response.status_code", "value": {"intValue": "200"}},
                ],
                "status": {},
            })
        );
        assert_eq!((&spans[1]["kind"], &spans[1]["status"]["code"]), (&json!(2), &json!(2)));
        assert!(spans[1].get("parentSpanId").is_none());
    }
}
