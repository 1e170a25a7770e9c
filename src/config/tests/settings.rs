//! Every wrong setting, as it is told: a table of bad configurations and their problems.

use crate::config::tests::FINE;
use crate::config::tests::lines;
use crate::config::tests::with;

#[test]
fn every_wrong_setting_is_told_with_position_and_advice() {
    let provider = |text: &str| with(5, &format!("    credential: {{ secret: {{ file: /s }} }}\n    {text}"));
    let entra = |text: &str| with(3, &format!("    entra: {{ {text} }}"));
    let route = |text: &str| format!("{FINE}    {text}\n");
    let matches = |text: &str| with(8, &format!("    match: {{ {text} }}"));
    let top = |text: &str| format!("{FINE}{text}\n");
    let upstream = |text: &str| with(9, &format!("    upstream: {text}"));
    let scopes = |text: &str| with(10, &format!("    exchange: {{ scopes: {text} }}"));
    let long_socket = format!("unix:/{}", "x".repeat(107));
    let cases: Vec<(String, &str)> = vec![
        // words and numbers
        (top("version: 2"), "11:10 error: the only version of this format is 1"),
        (top("version: one"), "11:10 error: `one` is not a whole number"),
        (
            top("workers: many"),
            "11:10 error: `many` is not a number of threads: write `auto` or a whole number from 1 to 1024",
        ),
        (
            top("workers: 0"),
            "11:10 error: `0` is not a number of threads: write `auto` or a whole number from 1 to 1024",
        ),
        (
            top("shutdown: { delay: 30 }"),
            "11:20 error: `30` is not a duration: write a number and a unit, as in 250ms, 30s, 5m, 1h",
        ),
        (
            top("cache: { max_bytes: 64MB }"),
            "11:21 error: `64MB` is not a size: write a number and a unit, as in 512B, 64KiB, 10MiB, 1GiB",
        ),
        (top("cache: { max_entries: 0 }"), "11:23 error: the cache must hold one entry at least"),
        (top("cache: { max_entries: -1 }"), "11:23 error: `-1` is not a whole number"),
        (
            top("cache: { key: usr }"),
            "11:15 error: `usr` is not `user` or `assertion` [did you mean `user`?]",
        ),
        (top("cache: fast"), "11:8 error: `***` is not a map"),
        (
            top("admin: { address: 0.0.0.0:9901 }"),
            "11:19 error: whoever reaches this address could purge users and read the configuration [keep it on 127.0.0.1, or add token: { file: PATH }]",
        ),
        (
            top("admin: { address: 9901 }"),
            "11:19 error: `9901` is not an address [write host:port, as in 0.0.0.0:8080, [::1]:8080 or localhost:8080]",
        ),
        (
            top("admin: { address: 127.0.0.1:9902 }"),
            "11:19 error: admin and telemetry cannot both bind port 9902",
        ),
        (
            top("admin: { address: 0.0.0.0:9901, token: {} }"),
            "11:33 error: this says nowhere what the secret is [write exactly one of file, env and value]",
        ),
        (top("admin: { token: hunter2 }"), "11:17 error: `***` is not a map"),
        (top("admin: { tokn: { file: /t } }"), "11:10 error: unknown setting `tokn` [did you mean `token`?]"),
        (top("limits: { connections: 0 }"), "11:24 error: this must be a number of connections, from 1"),
        (top("limits: { header_bytes: 1KiB }"), "11:25 error: this must be from 8KiB to 1MiB"),
        (top("limits: { header_timeout: 0s }"), "11:27 error: this must be longer than nothing"),
        (top("telemetry: { logs: { access: no } }"), "11:30 error: `no` is not `true` or `false`"),
        (
            top("telemetry: { logs: { format: jsn } }"),
            "11:30 error: `jsn` is not one of auto, human, json [did you mean `json`?]",
        ),
        (
            top("telemetry: { logs: { level: inof } }"),
            "11:29 error: `inof` is not a log level [write error, warn, info, debug or trace, or a filter such as info,obo_proxy=debug]",
        ),
        (
            top("telemetry: { logs: { level: 'a=b=c' } }"),
            "11:29 error: `a=b=c` is not a log level [write error, warn, info, debug or trace, or a filter such as info,obo_proxy=debug]",
        ),
        (top("listner: {}"), "11:1 error: unknown setting `listner` [did you mean `listeners`?]"),
        (
            top("listeners: { Public: { address: 0.0.0.0:1 } }"),
            "11:14 error: `Public` cannot be a name [names begin with a-z and go on with a-z, 0-9 and _: they are metric labels]",
        ),
        (
            top("listeners: { a: {} }"),
            "11:14 error: `address` is missing in `listeners.a` [write what to bind, as in address: 0.0.0.0:8080]",
        ),
        (
            top("listeners: { a: { address: 8080 } }"),
            "11:28 error: `8080` is not an address [write host:port, as in 0.0.0.0:8080, [::1]:8080 or localhost:8080]",
        ),
        (
            top("listeners: { a: { address: 0.0.0.0:70000 } }"),
            "11:28 error: `0.0.0.0:70000` is not an address [write host:port, as in 0.0.0.0:8080, [::1]:8080 or localhost:8080]",
        ),
        (
            top("listeners: { a: { address: 'unix:x' } }"),
            "11:28 error: `unix:x` is not the path of a socket [write unix: and an absolute path, as in unix:/run/obo-proxy/http.sock]",
        ),
        (
            top("listeners: { a: { address: 0.0.0.0:1 }, b: { address: 127.0.0.1:1 } }"),
            "11:55 error: listener `b` and listener `a` cannot both bind port 1",
        ),
        (
            top("listeners: { a: { address: 0.0.0.0:9902 } }"),
            "- error: telemetry and listener `a` cannot both bind port 9902",
        ),
        (
            top("listeners: { a: { address: 0.0.0.0:1, trusted_proxies: [10.0.0.0/99] } }"),
            "11:57 error: `10.0.0.0/99` is not a network [write it in CIDR notation, as in 10.0.0.0/8 or fd00::/8, or unix: for Unix sockets]",
        ),
        (
            top("listeners: { a: { address: 0.0.0.0:1, trusted_proxies: 0.0.0.0/0 } }"),
            "11:56 warning: every caller is believed about where the request comes from [name the network of the proxies in front]",
        ),
        // identity providers
        (
            entra(""),
            "3:5 error: `tenant` is missing in `identity_providers.contoso.entra` [write the tenant's id, or set AZURE_TENANT_ID]",
        ),
        (
            entra("tenant: common"),
            "3:22 error: `common` needs `allowed_tenants` [list the ids of the tenants whose users may enter]",
        ),
        (
            entra("tenant: common, allowed_tenants: [contoso.com]"),
            "3:48 error: `contoso.com` is not a tenant id [write the id of the tenant, a GUID: tokens name their tenant by it]",
        ),
        (
            entra("tenant: common, allowed_tenants: []"),
            "3:30 error: this list is empty [leave it out for the default]",
        ),
        (
            entra("tenant: contoso.com, allowed_tenants: [8eaef023-2b34-4da1-9baa-8bc8c9d6a490]"),
            "3:35 error: `allowed_tenants` has a meaning only with `common` and `organizations` [leave it out, or write tenant: organizations]",
        ),
        (
            entra("tenant: contoso.com, cloud: public, authority: 'https://x'"),
            "3:61 error: `authority` and `cloud` exclude each other [leave one of them out]",
        ),
        (
            entra("tenant: contoso.com, cloud: german"),
            "3:42 error: `german` is not one of public, us_government, china",
        ),
        (
            entra("tenant: contoso.com, authority: 'http://login.example'"),
            "3:46 error: `http://login.example` is not https [secrets and tokens are sent there: plain http is only for 127.0.0.0/8, ::1 and localhost]",
        ),
        (
            entra("tenant: contoso.com, authority: 'https://login.example/x'"),
            "3:46 error: `https://login.example/x` has a path [write the scheme and host alone: the tenant has a key of its own]",
        ),
        (with(3, "    entr: { tenant: x }"), "3:5 error: unknown setting `entr` [did you mean `entra`?]"),
        (
            with(4, "    client_id: orders-proxy"),
            "4:16 warning: this is no client id of Entra's [Entra's client ids are GUIDs]",
        ),
        (with(4, "    client_id: a b"), "4:16 error: `a b` is not a client id"),
        (
            provider("clock_skew: 10m"),
            "6:17 error: this must be 300s at most [expired tokens are accepted for that long: fix the clocks instead]",
        ),
        (provider("timeout: 0s"), "6:14 error: this must be longer than nothing"),
        (
            provider("algorithms: [none]"),
            "6:18 error: `none` is not an algorithm that can be accepted [it is never accepted: anybody could forge such tokens]",
        ),
        (
            provider("algorithms: [HS256]"),
            "6:18 error: `HS256` is not an algorithm that can be accepted [it is never accepted: anybody could forge such tokens]",
        ),
        (
            provider("algorithms: [rs256]"),
            "6:18 error: `rs256` is not an algorithm that can be accepted [did you mean `RS256`?]",
        ),
        (provider("algorithms: []"), "6:5 error: this list is empty [leave it out for the default]"),
        (provider("audiences: [a, 'b c']"), "6:20 error: `b c` is not an audience"),
        (
            provider("claim_names: { user: a..b }"),
            "6:26 error: `a..b` is not the name of a claim [write a name, or names joined by dots, as in realm_access.roles]",
        ),
        (
            provider("parameters: { scope: x }"),
            "6:19 error: the parameter `scope` is set by the exchange itself [leave it out]",
        ),
        (provider("grant: password"), "6:12 error: `password` is not `jwt_bearer`"),
        (
            with(5, "    credential: { secret: {} }"),
            "5:19 error: this says nowhere what the secret is [write exactly one of file, env and value]",
        ),
        (
            with(5, "    credential: { secret: { file: a, env: B } }"),
            "5:19 error: this says more than once where the secret is [write exactly one of file, env and value]",
        ),
        (
            with(5, "    credential: { secret: { env: NOT_THERE } }"),
            "5:34 error: the environment variable `NOT_THERE` is not set [set it to the secret itself, or write { file: PATH }]",
        ),
        (
            with(5, "    credential: { secret: { fil: x } }"),
            "5:29 error: unknown setting `fil` [did you mean `file`?]",
        ),
        (
            with(
                5,
                "    credential: [{ secret: { file: a } }, { secret: { file: b } }, { secret: { file: c } }]",
            ),
            "5:5 error: there are more than two credentials [two are enough to replace one by the other]",
        ),
        (
            with(5, ""),
            "2:3 error: `credential` is missing in `identity_providers.contoso` [write credential: { secret: { file: PATH } }]",
        ),
        // upstreams
        (
            with(5, "    credential: { secret: hunter2 }"),
            "5:27 error: `***` is not a map [write { file: PATH } or { env: NAME }]",
        ),
        (
            upstream("legcy"),
            "9:15 error: there is no upstream called `legcy` [a URL begins with http:// or https://]",
        ),
        (
            upstream("ftp://host"),
            "9:15 error: `ftp://host` cannot be used: the scheme must be http or https [write it as https://host, https://host:port or https://host/path]",
        ),
        (
            upstream("https://user@host"),
            "9:15 error: `***` cannot be used: a user name or password does not belong in a URL [write it as https://host, https://host:port or https://host/path]",
        ),
        (
            upstream("https://host/#x"),
            "9:15 error: `***` cannot be used: a fragment does not belong here [write it as https://host, https://host:port or https://host/path]",
        ),
        (
            upstream("https://host/a/../b"),
            "9:15 error: the path of `https://host/a/../b` cannot be used: it has a . or .. segment [write the path as it is compared",
        ),
        (upstream("https:///path"), "9:15 error: `https:///path` cannot be used: the host is missing"),
        (
            upstream("unix:run/x"),
            "9:15 error: `unix:run/x` cannot be used: the path of its socket does not begin with / [write it as unix:/run/app.sock]",
        ),
        (
            upstream("unix://host/x"),
            "9:15 error: `unix://host/x` cannot be used: the path of its socket does not begin with /",
        ),
        (
            upstream("unix:/run/"),
            "9:15 error: `unix:/run/` cannot be used: the path of its socket ends with /",
        ),
        (upstream(&long_socket), "cannot be used: the path of its socket is longer than 107 bytes"),
        (
            upstream("http://backend:8000"),
            "9:15 warning: exchanged tokens go to this upstream in clear: whoever shares the network reads them [use https://, or an upstream on this machine]",
        ),
        (
            with(9, ""),
            "7:3 error: `upstream` is missing in `routes.orders` [write the name of an upstream, or a URL as in http://127.0.0.1:8000]",
        ),
        // matches
        (
            with(8, ""),
            "7:3 error: `match` is missing in `routes.orders` [write which requests it takes, as in match: /api]",
        ),
        (
            with(8, "    match: [/]"),
            "8:5 error: a list is not a match: write a path, or a map of host, path, exact, methods and headers",
        ),
        (
            with(8, "    match: api"),
            "8:12 error: `api` is not a canonical path: it does not begin with / [write the path as it is compared",
        ),
        (matches("path: /a//b"), "8:20 error: `/a//b` is not a canonical path: it has // in it"),
        (matches("path: /a/./b"), "8:20 error: `/a/./b` is not a canonical path: it has a . or .. segment"),
        (matches("path: '/a?b'"), "8:20 error: `/a?b` is not a canonical path: a query cannot be matched"),
        (matches("path: '/a#b'"), "8:20 error: `/a#b` is not a canonical path: a fragment is never sent"),
        (
            matches("path: /%41"),
            "8:20 error: `/%41` is not a canonical path: it escapes what needs no escape",
        ),
        (
            matches("path: /%c3%A9"),
            "8:20 error: `/%c3%A9` is not a canonical path: the digits of an escape are upper-case",
        ),
        (
            matches("path: /%2F"),
            "8:20 error: `/%2F` is not a canonical path: an escaped slash cannot be matched",
        ),
        (
            matches("path: /é"),
            "8:20 error: `/é` is not a canonical path: it has a character that must be escaped",
        ),
        (
            matches("path: /a/"),
            "8:20 error: the prefix `/a/` ends with / [leave the last / out: a prefix ends where a segment ends. For this very path add exact: true]",
        ),
        (matches("exact: yes"), "8:21 error: `yes` is not `true` or `false`"),
        (matches("methods: [get]"), "8:24 error: `get` is not a method [methods are upper-case, as in GET]"),
        (matches("methods: [CONNECT]"), "8:24 error: `CONNECT` is never served"),
        (
            matches("methods: ['A B']"),
            "8:24 error: `A B` is not a method [write a method as it is sent, as in GET]",
        ),
        (
            matches("host: 'a:80'"),
            "8:20 error: `a:80` is not a host [write a host name without a port, or *. and one for every host below it]",
        ),
        (matches("host: 'a.*.b'"), "8:20 error: `a.*.b` is not a host"),
        (matches("host: '*'"), "8:20 error: `*` is not a host"),
        (
            matches("headers: { authorization: x }"),
            "8:25 error: the header `authorization` cannot select a route [match another header; hosts have a key of their own]",
        ),
        (
            matches("headers: { X-A: a, x-a: b }"),
            "the header `x-a` is there twice [case makes no difference]",
        ),
        (
            matches("headers: { 'a b': x }"),
            "8:25 error: `a b` is not a header name [write it as it is sent, as in x-channel]",
        ),
        // what happens to the token
        (
            with(10, ""),
            "7:3 error: this route does not say what happens to the caller's token [add exchange: { scopes: [...] }, token: passthrough, token: remove or auth: anonymous]",
        ),
        (
            route("token: remove"),
            "11:5 error: `token` and `exchange` exclude each other [a token is exchanged or passed on, not both: leave one of them out]",
        ),
        (
            route("auth: anonymous"),
            "10:5 error: `exchange` and `auth: anonymous` exclude each other [without a validated token there is nothing to exchange: leave one of them out]",
        ),
        (
            with(10, "    auth: anonymous\n    require: { scopes: a }"),
            "11:5 error: `require` and `auth: anonymous` exclude each other [without a validated token only a client certificate can be required: leave one of them out]",
        ),
        (with(10, "    auth: basic"), "10:11 error: `basic` is not `anonymous`"),
        (with(10, "    token: pass"), "10:12 error: `pass` is not `passthrough` or `remove`"),
        (
            with(10, "    exchange: {}"),
            "10:5 error: `scopes` is missing in `routes.orders.exchange` [write what the upstream wants, as in scopes: [api://orders-backend/.default]]",
        ),
        (scopes("[]"), "10:17 error: this list is empty [leave it out for the default]"),
        (scopes("a b"), "10:25 error: `a b` is not a scope [write several as a list: [a, b]]"),
        (scopes("['a\"b']"), "10:26 error: `a\"b` is not a scope"),
        (
            scopes("['api://x/.default', 'api://x/read']"),
            "10:17 warning: `api://x/.default` stands beside single scopes of the same resource [Entra refuses the mix: ask for .default, or for the single scopes]",
        ),
        (
            route("require: { scopes: { any_of: a, all_of: b } }"),
            "11:16 error: this must hold exactly one of any_of and all_of [write [a, b] for all of them]",
        ),
        (
            scopes("['api://x/read', 'api://y/z/read', openid]"),
            "10:17 warning: `api://x` and `api://y/z` are two resources [Entra answers AADSTS28000 or AADSTS70011: one resource per exchange]",
        ),
        (
            scopes("[openid, profile, offline_access]"),
            "10:17 warning: none of these scopes belongs to an API [name one of the API behind the upstream, as in api://orders-backend/.default]",
        ),
        (scopes("openid"), "10:25 warning: none of these scopes belongs to an API"),
        (
            route("identity_provider: contso"),
            "11:24 error: there is no identity provider called `contso` [did you mean `contoso`?]",
        ),
        (
            route("listeners: [defult]"),
            "11:17 error: there is no listener called `defult` [did you mean `default`?]",
        ),
        (
            route("rewrite: { strip_prefix: /api }"),
            "11:30 error: `/api` is not where the path `/` of config.yaml:7 begins [strip whole segments from the front of the path that the route takes]",
        ),
        (
            route("rewrite: { strip_prefix: / }"),
            "11:30 error: `/` ends with / [leave the last / out; to strip nothing, leave the setting out]",
        ),
        (route("require: { claims: {} }"), "11:16 error: this map is empty [leave it out for the default]"),
        (top("defaults: { require: { claims: {} } }"), "11:24 error: this map is empty [leave it out for"),
        (route("timeouts: { response: 0s }"), "11:27 error: this must be longer than nothing"),
        (top("defaults: { match: / }"), "11:13 error: unknown setting `match`"),
        (top("defaults: { timeouts: { idle: 5 } }"), "11:31 error: `5` is not a duration"),
        (
            "version: 1\n".into(),
            "- error: `routes` is missing [write one at least, as in the shortest example of the reference]",
        ),
        (
            "routes: { a: { match: /, upstream: 'http://127.0.0.1', token: remove } }\n".into(),
            "- error: `identity_providers` is missing [write whose tokens are accepted, or make every route auth: anonymous]",
        ),
        // routes against each other
        (
            top("  twin: { match: /, upstream: 'http://127.0.0.1', token: remove }"),
            "11:3 error: the routes `orders` and `twin` tie: some requests match both equally well; `orders` is at config.yaml:7",
        ),
        (
            with(8, "    match: /orders")
                + "\n  open: { match: /, upstream: 'http://127.0.0.1', auth: anonymous }\n",
            "11:3 warning: everybody may pass `open`, and its path covers that of the protected route `orders` at config.yaml:7",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, expected) in &cases {
        let told = lines(text);
        // one mistake, one problem
        if told.len() != 1 || !told[0].contains(expected) {
            wrong.push(format!("{text}\nexpected {expected}\ntold {told:#?}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
