//! What is wrong, as it is told: files that are no configuration, all problems at once, what comes later, bombs.

use crate::config::load_text;
use crate::config::problem::Report;
use crate::config::tests::FINE;
use crate::config::tests::env;
use crate::config::tests::lines;
use crate::config::tests::told;
use crate::config::tests::with;

#[test]
fn a_problem_is_shown_with_its_line_underlined() {
    assert_eq!(
        told(&with(10, "    exchange:\n      scpoes: [api://orders-backend/.default]"), &[]),
        "\
error: unknown setting `scpoes`
  --> config.yaml:11:7
   |
11 |       scpoes: [***]
   |       ^^^^^^
   = help: did you mean `scopes`?
"
    );
}

#[test]
fn yaml_that_is_no_configuration_is_refused_where_it_goes_wrong() {
    for (text, expected) in [
        ("version: 1\nversion: 1\n", "2:1 error: duplicate key `version` [it was set on line 1 already]"),
        ("limits: &a\n  connections: 1\n", "1:9 error: anchors are not allowed"),
        ("limits: *a\n", "1:9 error: this is not YAML: while parsing node, found unknown anchor"),
        ("workers: !!int 4\n", "1:10 error: tags are not allowed"),
        ("version: 1\n---\nversion: 1\n", "2:1 error: a second document begins here"),
        ("? [a]\n: 1\n", "1:3 error: a key must be a text"),
        ("limits:\n\tconnections: 1\n", "2:2 error: this is not YAML: tabs disallowed"),
        ("limits: {connections: 1\n", "error: this is not YAML: "),
        ("limits: [1, 2\n", "error: this is not YAML: "),
        (
            "a: 'b\n",
            "1:4 error: this is not YAML: while scanning a quoted scalar, found unexpected end of stream",
        ),
        ("- a\n- b\n", "1:1 error: the file must be a map of settings"),
        ("hello\n", "1:1 error: the file must be a map of settings"),
        ("limits.connections: 1\n", "1:1 error: unknown setting `limits.connections` [write the parts"),
        ("limits:\n  connections: 1\n bad\n", "error: this is not YAML: "),
    ] {
        let told = lines(text);
        assert!(told.iter().any(|line| line.contains(expected)), "{text}\n{told:#?}");
    }
}
#[test]
fn all_problems_are_told_at_once_by_file_and_line() {
    let text = "\
version: 3
listeners:
  public: { address: nowhere, tsl: {} }
identity_providers:
  contoso:
    entra: { tenant: '../x', cloud: moon }
    client_id: a
    credentials: { secret: { file: /x } }
routes:
  orders:
    match: orders
    upstream: legacy
    exchange: { scopes: [] }
    retry: { attempts: 0 }
version: 1
";
    let told = lines(text);
    let places: Vec<&str> = told.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(
        places,
        ["1:10", "3:22", "3:31", "6:22", "6:37", "7:16", "8:5", "11:12", "12:15", "13:17", "14:24", "15:1"],
        "{told:#?}"
    );
}

#[test]
fn an_unknown_upstream_is_told_what_may_have_been_meant() {
    let known = |names: &[&str]| {
        let one = |name: &&str| format!("{name}: {{ url: 'http://127.0.0.1' }}");
        format!("upstreams: {{ {} }}", names.iter().map(one).collect::<Vec<_>>().join(", "))
    };
    let url = "a URL begins with http:// or https://";
    for (written, names, help) in [
        ("legcy", &["legacy"][..], "did you mean `legacy`?"),
        ("orders", &["legacy"], "there is: legacy"),
        ("orders", &["a", "b", "c", "d", "e"], "there is: a, b, c, d, e"),
        ("orders", &["a", "b", "c", "d", "e", "f"], "there is: a, b, c, d, e, ..."),
        ("127.0.0.1:8000", &[], url),
        ("localhost:8000", &["legacy"], url),
        ("backend.example/api", &["legacy"], url),
        ("'[::1]:8000'", &["legacy"], url),
    ] {
        let text = with(9, &format!("    upstream: {written}")) + "\n" + &known(names);
        let written = written.trim_matches('\'');
        let expected = format!("9:15 error: there is no upstream called `{written}` [{help}]");
        assert_eq!(lines(&text), [expected]);
    }
}

#[test]
fn bombs_are_refused_quickly() {
    let deep = "[".repeat(100_000);
    let deep_block: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let aliases = format!("a: &a [x]\n{}", "b: [*a,*a,*a,*a]\n".repeat(5_000));
    let long = "a: b\n".repeat(300_000);
    let many: String = (0..20_000).map(|n| format!("k{n}: 1\n")).collect();
    let lists = format!("a: [{}", "[],".repeat(110_000));
    let routes: String = (0..1_000).map(|n| format!("  r{n}: {{ match: /, upstream: x }}\n")).collect();
    let started = crate::domain::clock::Clock::system().monotonic();
    for text in [deep, deep_block, aliases, long, many, lists, format!("routes:\n{routes}")] {
        let report = load_text("config.yaml", &text, &[]).unwrap_err();
        assert!(report.problems().len() <= 3_001, "{}", report.problems().len());
    }
    let took = crate::domain::clock::Clock::system().monotonic() - started;
    assert!(took.as_secs() < 60, "{took:?}");
}

#[test]
fn problems_of_the_environment_name_the_variable_and_not_a_line() {
    let report: Report =
        load_text("config.yaml", FINE, &env(&[("OBO__LIMITS__CONNECTIONS", "many"), ("OBO____X", "1")]))
            .unwrap_err();
    assert_eq!(
        report.to_string(),
        "\
error: `many` is not a whole number
 --> environment variable OBO__LIMITS__CONNECTIONS

error: this variable names no setting
 --> environment variable OBO____X
  = help: the form is OBO__SECTION__KEY, and each setting can be named once
"
    );
    assert_eq!(
        report.to_json()[0],
        serde_json::json!({
            "severity": "error", "file": null, "line": null, "column": null,
            "variable": "OBO__LIMITS__CONNECTIONS", "message": "`many` is not a whole number", "help": null,
        })
    );
}
