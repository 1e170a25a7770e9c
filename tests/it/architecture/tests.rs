//! The scanner sees what it is there to see: each rule, broken on purpose.

use super::*;

/// What is wrong with `text` as the file `name`.
fn found(name: &str, text: &str) -> Vec<String> {
    problems(name, text).into_iter().map(|(_, problem)| problem).collect()
}

#[test]
fn imports_that_break_a_rule_are_found() {
    for (name, text, problem) in [
        ("src/domain/name.rs", "use crate::config::Config;", "imports upward: config::Config"),
        ("src/net/mod.rs", "fn f() { crate::pipeline::run() }", "imports upward: pipeline::run"),
        ("src/net/client.rs", "type A = crate::app::App;", "imports upward: app::App"),
        ("src/telemetry/mod.rs", "#[cfg(test)]\nmod tests { use crate::net::x; }", "imports upward: net::x"),
        ("src/config/mod.rs", "use super::net::Body;", "imports upward: net::Body"),
        ("src/net/client.rs", "use crate::helpers::x;", "imports what is on no floor: helpers::x"),
        ("src/utils/mod.rs", "", "`utils` is on no floor"),
        ("src/utils.rs", "", "`utils` is on no floor"),
        (
            "src/pipeline/exchange/mod.rs",
            "use crate::pipeline::forward::Error;",
            "imports sideways: pipeline::forward::Error",
        ),
        (
            "src/pipeline/exchange/mod.rs",
            "use super::route;\nuse super::route::X;",
            "imports sideways: pipeline::route::X",
        ),
        (
            "src/pipeline/exchange/mod.rs",
            "use crate::pipeline::Shared;",
            "imports sideways: pipeline::Shared",
        ),
        (
            "src/pipeline/exchange/key.rs",
            "use crate::pipeline::respond;",
            "imports sideways: pipeline::respond",
        ),
        (
            "src/pipeline/respond/refusal.rs",
            "use crate::pipeline::exchange::Exchanger;",
            "imports sideways: pipeline::exchange::Exchanger",
        ),
        (
            "src/pipeline/respond/refusal.rs",
            "use crate::pipeline::exchange;\nfn f(_: exchange::Exchanger) {}",
            "names more than an error: exchange::Exchanger",
        ),
        ("src/pipeline/helper.rs", "", "`helper` is no stage"),
        ("src/app/mod.rs", "use crate::{config, net};", "a group: crate::{"),
        ("src/app/mod.rs", "use crate::net::{Body, client};", "a group: crate::net::{"),
        ("src/app/mod.rs", "use crate::*;", "a glob: crate::*"),
        ("src/app/mod.rs", "use serde_json::*;", "a glob: serde_json::*"),
        ("src/app/mod.rs", "use super::*;", "a glob: super::*"),
        ("src/app/tests.rs", "use crate::net::*;", "a glob: crate::net::*"),
        ("src/app/demo/echo/mod.rs", "use super::super::cli;", "say where from the top: super::super::cli"),
    ] {
        let found = found(name, text);
        let is_long = |problem: &&String| !problem.contains("needs no exception");
        let found: Vec<&String> = found.iter().filter(is_long).collect();
        assert!(found.iter().any(|own| *own == problem), "{name}: {text}: {found:?}");
    }
}

#[test]
fn imports_that_keep_the_rules_are_left_alone() {
    for (name, text) in [
        ("src/lib.rs", "pub mod app;"),
        ("src/main.rs", "fn main() { obo_proxy::app::main() }"),
        ("src/app/mod.rs", "use crate::pipeline::exchange::Exchanger;\nuse crate::app::demo::echo::Echo;"),
        ("src/net/client.rs", "use crate::config::Http2;\nuse crate::net::tls;"),
        ("src/pipeline/mod.rs", "use crate::pipeline::exchange::Exchanger;\nuse crate::pipeline::respond;"),
        (
            "src/pipeline/exchange/mod.rs",
            "use crate::pipeline::exchange::key;\nuse crate::net::client::Client;",
        ),
        ("src/pipeline/exchange/key.rs", "use super::Error;\nuse super::grant::Form;"),
        ("src/pipeline/respond/refusal.rs", "use crate::pipeline::exchange::Error;"),
        (
            "src/pipeline/respond/refusal.rs",
            "use crate::pipeline::exchange;\nfn f(_: exchange::Error, _: exchange::classify::Kind) {}",
        ),
        ("src/domain/name.rs", "#[cfg(test)]\nmod tests {\n    use super::*;\n    use super::Name;\n}"),
        ("src/domain/name/tests.rs", "use super::*;"),
        ("src/domain/name.rs", "//! See `crate::app::demo`.\nconst A: &str = \"use crate::app::*;\";"),
    ] {
        assert_eq!(found(name, text), Vec::<String>::new(), "{name}: {text}");
    }
}

#[test]
fn what_must_be_absent_is_found() {
    for (name, text, problem) in [
        ("src/domain/clock.rs", "pub async fn now() {}", "`domain` has no async"),
        ("src/net/tls.rs", "let proxy = std::env::var(\"HTTPS_PROXY\");", "only `app` reads the environment"),
        ("src/telemetry/logs.rs", "use std::env;", "only `app` reads the environment"),
        ("src/domain/token.rs", "impl fmt::Display for UserToken {", "UserToken is Display"),
        ("src/net/mod.rs", "impl Serialize for crate::domain::secret::Secret {}", "Secret is Serialize"),
        (
            "src/domain/token.rs",
            "impl serde::Serialize for DownstreamToken{}",
            "DownstreamToken is Serialize",
        ),
        (
            "src/domain/token.rs",
            "#[derive(Clone, Serialize)]\n/// Token A.\npub struct UserToken { a: u8 }",
            "UserToken is Serialize",
        ),
        ("src/domain/token.rs", "#[derive(serde::Serialize)]\nstruct Secret(String);", "Secret is Serialize"),
    ] {
        assert_eq!(found(name, text), [problem], "{name}: {text}");
    }
    for (name, text) in [
        ("src/app/cli/mod.rs", "std::env::var(\"A\"); async fn f() {}"),
        ("src/net/mod.rs", "async fn f() { env!(\"CARGO_PKG_VERSION\"); }"),
        ("src/net/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests { fn g() { std::env::temp_dir(); } }"),
        ("src/domain/token.rs", "#[derive(Serialize)]\nstruct Other;\n#[derive(Clone)]\nstruct UserToken;"),
        ("src/domain/token.rs", "impl fmt::Debug for UserToken {}\nimpl fmt::Display for UserTokenKind {}"),
    ] {
        assert_eq!(found(name, text), Vec::<String>::new(), "{name}: {text}");
    }
}

#[test]
fn long_files_are_found_and_tests_are_not_counted() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    assert_eq!(found("src/net/mod.rs", &lines(LONGEST)), Vec::<String>::new());
    assert_eq!(found("src/net/mod.rs", &lines(LONGEST + 1)), ["401 lines: more than 400"]);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(LONGEST), lines(100));
    assert_eq!(found("src/net/mod.rs", &tested), Vec::<String>::new());
    assert_eq!(found("src/net/client/tests.rs", &lines(LONGEST * 2)), Vec::<String>::new());
    let (exempt, _) = LONG[0];
    assert_eq!(found(exempt, &lines(LONGEST + 1)), Vec::<String>::new());
    assert_eq!(found(exempt, &lines(LONGEST)), ["400 lines: it needs no exception any more"]);
}

#[test]
fn a_circle_of_imports_is_found() {
    let edges = |pairs: &[(&str, &str)]| {
        let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, to) in pairs {
            edges.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        edges
    };
    assert_eq!(cycle(&edges(&[("a", "b"), ("b", "c"), ("a", "c"), ("a", "a")])), None);
    let circle = cycle(&edges(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "e")]));
    assert!(circle.is_some_and(|names| names.contains(&"b".to_owned()) && !names.contains(&"d".to_owned())));
}
