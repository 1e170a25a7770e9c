use std::collections::HashSet;

use super::*;
use crate::domain::clock::UnixTime;

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn only_a_well_formed_traceparent_counts() {
    let check = |value: &str| trace_id(&value.parse().unwrap()).map(String::from);
    assert_eq!(check(&format!("00-{ID}-00f067aa0ba902b7-01")).as_deref(), Some(ID));
    for bad in [
        "",
        "00",
        "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
    ] {
        assert_eq!(check(bad), None, "{bad}");
    }
}

#[test]
fn what_is_sent_on_is_what_is_read() {
    let ids = Ids::new().unwrap();
    let (trace, span) = (ids.trace(), ids.span());
    let sent = traceparent(trace, span).unwrap();
    assert_eq!(parent(sent.to_str().unwrap()), Some(Parent { trace, span, is_sampled: true }));
    assert!(!parent(&format!("00-{ID}-00f067aa0ba902b7-02")).unwrap().is_sampled);
}

#[test]
fn a_parent_is_followed_and_a_request_without_one_is_a_matter_of_chance() {
    let metrics = Arc::new(Metrics::new());
    let sampled = HeaderValue::from_str(&format!("00-{ID}-00f067aa0ba902b7-01")).unwrap();
    let unsampled = HeaderValue::from_str(&format!("00-{ID}-00f067aa0ba902b7-00")).unwrap();
    let garbled = HeaderValue::from_static("00-x");
    for (on_parent, ratio, expected) in [
        (OnParent::Follow, 0.0, [true, false, false, false]),
        (OnParent::Follow, 1.0, [true, false, true, true]),
        (OnParent::Ignore, 0.0, [false; 4]),
        (OnParent::Ignore, 1.0, [true; 4]),
    ] {
        let (tracer, _spans) = Tracer::new(Sampler { on_parent, ratio }, metrics.clone()).unwrap();
        let picked = [Some(&sampled), Some(&unsampled), Some(&garbled), None]
            .map(|traceparent| tracer.pick(traceparent).is_some());
        assert_eq!(picked, expected, "{on_parent:?} {ratio}");
    }
    let sampler = Sampler { on_parent: OnParent::Follow, ratio: 0.25 };
    let (tracer, _spans) = Tracer::new(sampler, metrics).unwrap();
    let picked = (0..40_000).filter(|_| tracer.pick(None).is_some()).count();
    // ten standard deviations
    assert!((9_134..10_866).contains(&picked), "{picked}");
}

#[test]
fn no_two_ids_are_the_same() {
    let ids = Ids::new().unwrap();
    let traces: HashSet<String> = (0..10_000).map(|_| ids.trace().hex()).collect();
    let spans: HashSet<String> = (0..10_000).map(|_| ids.span().hex()).collect();
    assert_eq!((traces.len(), spans.len()), (10_000, 10_000));
}

#[test]
fn marks_become_times_of_day_in_their_order() {
    let clock = Clock::manual(UnixTime::from_seconds(1_000));
    let start = clock.monotonic();
    clock.advance(Duration::from_secs(2));
    let anchor = Anchor::new(start, &clock);
    assert_eq!(anchor.time_of(start), Duration::from_secs(1_000));
    assert_eq!(anchor.time_of(clock.monotonic()), Duration::from_secs(1_002));
    assert_eq!(anchor.time_of(start - Duration::from_secs(1)), Duration::from_secs(999));
}

#[test]
fn a_traceparent_that_comes_twice_is_none() {
    let (one, other) = (HeaderValue::from_static("00-1"), HeaderValue::from_static("00-2"));
    let mut headers = HeaderMap::new();
    assert_eq!(sole(&headers), None);
    headers.append(TRACEPARENT, one.clone());
    assert_eq!(sole(&headers), Some(&one));
    headers.append(TRACEPARENT, other);
    assert_eq!(sole(&headers), None);
}

#[test]
fn the_queue_is_bounded_in_bytes_until_its_spans_are_exported() {
    let metrics = Arc::new(Metrics::new());
    let sampler = Sampler { on_parent: OnParent::Follow, ratio: 1.0 };
    let (tracer, mut spans) = Tracer::new(sampler, metrics).unwrap();
    let text = "x".repeat(LARGEST_QUEUE / 4);
    let span = || Span {
        trace: tracer.ids.trace(),
        id: tracer.ids.span(),
        parent: None,
        kind: Kind::Server,
        name: "GET".into(),
        start: Duration::ZERO,
        end: Duration::ZERO,
        attributes: vec![("url.path", text.as_str().into())],
        is_error: false,
    };
    (0..10).for_each(|_| tracer.record(span()));
    let batch: Vec<Kept> = std::iter::from_fn(|| spans.try_recv().ok()).collect();
    assert_eq!(batch.len(), 3);
    // what is being exported takes its room still
    (0..10).for_each(|_| tracer.record(span()));
    assert!(spans.try_recv().is_err());
    drop(batch);
    tracer.record(span());
    assert!(spans.try_recv().is_ok());
}
