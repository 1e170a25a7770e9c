//! The commands that explain, decode, verify, exchange and write, as an operator uses them.

mod explain;
mod snapshot;
mod start;
mod terminal;
mod token;

use std::fs;
use std::path::PathBuf;

use crate::support::process::obo_proxy;
use crate::support::process::run;
use crate::support::process::text;
use snapshot::pinned;

/// What no output may hold.
const CANARY: &str = "canary-7f3a";

/// A configuration with something of everything, and secrets wherever there may be some.
const CONFIG: &str = r#"listeners:
  public: { address: "0.0.0.0:8443", trusted_proxies: [10.0.0.0/8] }
  egress: { address: "127.0.0.1:8081" }
identity_providers:
  contoso:
    entra: { tenant: 8eaef023-2b34-4da1-9baa-8bc8c9d6a490 }
    client_id: 6731de76-14a6-49ae-97bc-6eba6914391e
    credential: { secret: { value: canary-7f3a } }
    parameters: { x-partner: canary-7f3a }
  partner:
    oidc: { issuer: https://id.example/realms/b2b }
    client_id: orders-proxy
    audiences: [orders]
    credential: { secret: { env: PARTNER_SECRET } }
    introspection: true
upstreams:
  legacy: { url: "http://127.0.0.1:8000/base" }
  socket: { url: unix:/run/app.sock }
defaults: { upstream: legacy, identity_provider: contoso }
routes:
  health: { match: { path: /healthz, exact: true }, auth: anonymous }
  open: { match: /open, auth: anonymous, token: passthrough, upstream: socket }
  all: { match: /, token: passthrough }
  read: { match: { path: /api/orders, methods: [GET] }, exchange: { resource: https://graph.windows.net } }
  write:
    match:
      host: ["orders.example", "*.orders.example"]
      path: /api/orders
      methods: [POST, PUT]
      headers: { x-channel: web }
    listeners: [public]
    require:
      scopes: [orders.write]
      roles: { any_of: [Clerk, Admin] }
      clients: [9ada6f8a-6d83-41bc-b169-a306c21527a5]
      claims: { acr: "1", department: sales }
    rewrite: { strip_prefix: /api }
    exchange: { scopes: [api://orders-backend/orders.write] }
    headers: { set: { x-user-id: "{claims.oid}", x-fixed: canary-7f3a }, remove: [cookie] }
    retry: { attempts: 2, on: [connect_error, "503"], methods: [PUT] }
    limits: { request_body: 10MiB, concurrency: 200 }
    cors: { origins: [https://app.example] }
  partners: { match: /partners, identity_provider: [contoso, partner], token: remove }
"#;

/// A directory with the configuration, and where that is.
fn configured() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, CONFIG).unwrap();
    (directory, file)
}

/// Runs a command with that configuration: its exit code, and what it says on stdout and stderr.
fn configured_run(arguments: &[&str]) -> (i32, String, String) {
    let (directory, _file) = configured();
    let mut command = obo_proxy(arguments);
    command.current_dir(directory.path()).env("OBO_CONFIG", "config.yaml").env("PARTNER_SECRET", CANARY);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_command_says_how_it_is_used() {
    let commands: [&[&str]; 16] = [
        &[],
        &["run"],
        &["demo"],
        &["check"],
        &["doctor"],
        &["explain"],
        &["token"],
        &["token", "decode"],
        &["token", "verify"],
        &["token", "exchange"],
        &["config"],
        &["init"],
        &["schema"],
        &["health"],
        &["completions"],
        &["token", "help"],
    ];
    for command in commands {
        let mut arguments = command.to_vec();
        if command.last() != Some(&"help") {
            arguments.push("--help");
        }
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        let name = if command.is_empty() { "obo-proxy".to_owned() } else { command.join("-") };
        pinned(&format!("help-{name}"), &text(&output.stdout));
    }
}

#[test]
fn exit_codes_say_what_happened() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("garbage"), "garbage").unwrap();
    fs::write(at("empty"), " \n").unwrap();
    fs::write(at("broken.yaml"), "routes: 7\n").unwrap();
    let (garbage, empty, broken, missing) = (at("garbage"), at("empty"), at("broken.yaml"), at("missing"));
    for (arguments, code) in [
        (&["explain", "GET", "/", "--listener", "public"][..], 0),
        (&["explain", "GET", "/"], 2), // two listeners
        (&["explain", "GET", "/", "--listener", "nobody"], 2),
        (&["explain", "GET", "//", "--listener", "public"], 1),
        (&["explain", "TRACE", "/", "--listener", "public"], 1),
        (&["explain", "GET", "/", "--listener", "public", "--token-file", &garbage], 1),
        (&["explain", "GET", "/", "--listener", "public", "--token-file", &empty], 2),
        (&["explain", "GET", "/", "--listener", "public", "--token-file", &missing], 74),
        (&["explain", "GET", "/", "--listener", "public", "--client-certificate", &missing], 74),
        (&["explain", "GET", "/", "--listener", "public", "--client-certificate", &garbage], 2),
        (&["explain", "GET", "/", "--verify"], 2), // nothing to verify
        (&["explain", "GET", "/", "--header", "authorization: Bearer x"], 2),
        (&["explain", "GET", "/", "--header", "nonsense"], 2),
        (&["explain", "GET"], 2),
        (&["explain", "GET", "/", "--config", &broken], 78),
        (&["explain", "GET", "/", "--config", &missing], 74),
        (&["token"], 2),
        (&["token", "decode", "--token-file", &garbage], 1),
        (&["token", "decode", "--token-file", &empty], 2),
        (&["token", "decode", "--token-file", &missing], 74),
        (&["token", "decode", "a.b.c"], 2), // a token is no argument
        (&["token", "verify", "--token-file", &garbage], 2), // several routes
        (&["token", "verify", "--route", "nobody", "--token-file", &garbage], 2),
        (&["token", "verify", "--identity-provider", "nobody", "--token-file", &garbage], 2),
        (&["token", "verify", "--route", "all", "--identity-provider", "contoso"], 2),
        (&["token", "exchange", "--token-file", &garbage], 2), // two routes exchange
        (&["token", "exchange", "--route", "all", "--token-file", &garbage], 2), // it does not
        (&["token", "exchange", "--route", "write", "--token-file", &missing], 74),
        (&["token", "verify", "--config", &broken], 78),
        (&["config"], 0),
        (&["config", "--config", &broken], 78),
        (&["config", "--config", &missing], 74),
        (&["completions", "bash"], 0),
        (&["completions", "cmd"], 2),
        (&["init"], 2), // nobody to ask
    ] {
        let (own, out, err) = configured_run(arguments);
        assert_eq!(own, code, "{arguments:?}\n{out}\n{err}");
        assert!(code == 0 || !out.is_empty() || !err.is_empty(), "{arguments:?} says nothing");
        assert!(!out.contains(CANARY) && !err.contains(CANARY), "{arguments:?}\n{out}\n{err}");
        assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "there is no terminal: {arguments:?}");
    }
}

#[test]
fn the_configuration_in_use_is_told_with_its_origins_and_without_its_secrets() {
    let (directory, _file) = configured();
    fs::write(directory.path().join("over.yaml"), "routes:\n  all: { timeouts: { response: 7s } }\n")
        .unwrap();
    let told = |arguments: &[&str]| {
        let mut command = obo_proxy(&["config", "--config", "config.yaml", "--config", "over.yaml"]);
        command.args(arguments).current_dir(directory.path());
        let output = command.env("PARTNER_SECRET", CANARY).env("OBO__WORKERS", "3").output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output.stdout);
        assert!(!said.contains(CANARY), "{said}");
        said
    };
    let plain = told(&[]);
    pinned("config", &plain);
    let full = told(&["--defaults"]);
    pinned("config-defaults", &full);
    pinned("config-json", &told(&["--json"]));
    // what is told is a configuration, but for what is masked
    for said in [plain, full] {
        let again = directory.path().join("again.yaml");
        let said = said.replace("\"***\"", "masked");
        fs::write(&again, &said).unwrap();
        let output = obo_proxy(&["check", "--config", again.to_str().unwrap()])
            .env("PARTNER_SECRET", CANARY)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}\n{said}", text(&output.stdout));
    }
}

#[test]
fn every_shell_is_told_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = text(&run(&["completions", shell]).stdout);
        for command in ["explain", "token", "decode", "--print-token", "init", "completions"] {
            let bare = command.trim_start_matches('-');
            assert!(script.contains(bare), "{shell} does not complete {command}");
        }
    }
    // what bash cannot read it says on stderr
    let check = std::process::Command::new("bash")
        .args(["-c", "source /dev/stdin && complete -p obo-proxy"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn();
    let mut check = check.unwrap();
    let script = run(&["completions", "bash"]).stdout;
    std::io::Write::write_all(&mut check.stdin.take().unwrap(), &script).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
