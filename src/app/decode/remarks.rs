//! What is noteworthy about a token: why a proxy may not take it, as far as the token alone tells. Pure.

use serde_json::Map;
use serde_json::Value;

use crate::app::words;
use crate::config::Algorithm;
use crate::domain::caller::Principal;
use crate::domain::clock::UnixTime;
use crate::domain::printable;
use crate::pipeline::authenticate::claims::Stated;
use crate::pipeline::authenticate::jws;
use crate::pipeline::authenticate::principal;
use crate::pipeline::authenticate::principal::Judged;

/// By which names Microsoft Graph is an audience.
const GRAPH: [&str; 3] =
    ["00000003-0000-0000-c000-000000000000", "https://graph.microsoft.com", "https://graph.microsoft.com/"];

/// Hosts of Entra's issuers, in all clouds.
const ENTRA: [&str; 6] = [
    "https://sts.windows.net/",
    "https://sts.chinacloudapi.cn/",
    "https://login.microsoftonline.com/",
    "https://login.microsoftonline.us/",
    "https://login.partner.microsoftonline.cn/",
    "https://login.chinacloudapi.cn/",
];

/// All there is to say.
pub fn all(header: &Map<String, Value>, claims: &Map<String, Value>, now: UnixTime) -> Vec<String> {
    let mut remarks = Vec::new();
    of_header(header, &mut remarks);
    of_times(claims, now, &mut remarks);
    of_audience(header, claims, &mut remarks);
    of_kind(claims, &mut remarks);
    remarks
}

fn of_header(header: &Map<String, Value>, remarks: &mut Vec<String>) {
    match header.get("alg").and_then(Value::as_str) {
        None => remarks.push("The header names no algorithm.".into()),
        Some(name) if Algorithm::parse(name).is_none() => {
            remarks.push(format!("No proxy takes a token signed with `{}`.", printable::line(name)));
        }
        Some(_) => {}
    }
    let typ = header.get("typ").and_then(Value::as_str);
    if let Some(typ) = typ.filter(|typ| !["JWT", "at+jwt"].iter().any(|own| jws::media_type_is(own, typ))) {
        remarks.push(format!("Its type is `{}`, not JWT or at+jwt: see token_types.", printable::line(typ)));
    }
}

fn of_times(claims: &Map<String, Value>, now: UnixTime, remarks: &mut Vec<String>) {
    let moment = |name: &str| claims.get(name).and_then(seconds).map(UnixTime::from_seconds);
    match moment("exp") {
        None => remarks.push("It never expires (no exp), so no proxy takes it.".into()),
        Some(end) if end <= now => {
            remarks.push(format!("It has expired {} ago.", words::span(now.since(end))));
        }
        Some(_) => {}
    }
    if let Some(begin) = moment("nbf").filter(|begin| *begin > now) {
        remarks.push(format!(
            "It is valid only in {} (nbf). Are the clocks right?",
            words::span(begin.since(now))
        ));
    }
}

fn of_audience(header: &Map<String, Value>, claims: &Map<String, Value>, remarks: &mut Vec<String>) {
    let is_graph = claims.get("aud").is_some_and(|aud| match aud {
        Value::Array(all) => all.iter().filter_map(Value::as_str).any(|aud| GRAPH.contains(&aud)),
        aud => aud.as_str().is_some_and(|aud| GRAPH.contains(&aud)),
    });
    if is_graph {
        remarks.push(
            "It is for Microsoft Graph, not for your API: the client must ask for a scope of your API, such as api://CLIENT_ID/.default.".into(),
        );
    }
    if header.contains_key("nonce") {
        remarks.push(
            "There is a nonce in its header: it is for one of Microsoft's own APIs, and nobody else can verify its signature.".into(),
        );
    }
    if !claims.contains_key("aud") {
        remarks.push("It is for nobody (no aud), so no proxy takes it.".into());
    }
}

fn of_kind(claims: &Map<String, Value>, remarks: &mut Vec<String>) {
    if claims.contains_key("cnf") {
        remarks.push(
            "It is bound to a key (cnf): it is taken only together with the client certificate that it names.".into(),
        );
    }
    let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
    if !ENTRA.iter().any(|host| issuer.starts_with(host)) {
        // what tells the kinds of other issuers' tokens apart is for the configuration to say
        return;
    }
    let Some(version @ ("1.0" | "2.0")) = claims.get("ver").and_then(Value::as_str) else {
        remarks.push("Its version (ver) is neither 1.0 nor 2.0.".into());
        return;
    };
    if (version == "2.0") != issuer.ends_with("/v2.0") {
        remarks.push(format!("Its issuer is not that of version {version}."));
    }
    let Ok(stated) = Stated::read(claims.clone()) else { return };
    let has_roles = matches!(stated.words("roles"), Ok(Some(roles)) if !roles.is_empty());
    match principal::at_entra(&stated, has_roles) {
        Ok(Judged { principal: Principal::User, .. }) => {}
        Ok(Judged { principal: Principal::Application, sign }) => remarks.push(format!(
            "It is an application's (client credentials; {sign}): there is no user on whose behalf to act. See app_tokens.",
        )),
        Err(_) => remarks.push(
            "It has no scopes (scp): probably an ID token, which is for the client. The client must send its access token.".into(),
        ),
    }
}

/// A NumericDate (RFC 7519 section 2) in whole seconds.
pub fn seconds(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    let is_sane = |float: &f64| float.abs() < 9e15;
    number.as_i64().or_else(|| number.as_f64().filter(is_sane).map(|float| float.floor() as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime::from_seconds(1_795_000_000);
    const V2: &str = "https://login.microsoftonline.com/8eaef023-2b34-4da1-9baa-8bc8c9d6a490/v2.0";

    fn of(header: Value, changes: Value) -> String {
        let mut claims = json!({
            "aud": "6731de76-14a6-49ae-97bc-6eba6914391e", "iss": V2, "ver": "2.0", "scp": "orders.read", "oid": "o",
            "sub": "s", "exp": 1_795_003_600, "nbf": 1_795_000_000,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        all(header.as_object().unwrap(), claims.as_object().unwrap(), NOW).join("\n")
    }

    #[test]
    fn a_good_token_is_not_remarked_upon() {
        assert_eq!(of(json!({"alg": "RS256", "typ": "JWT"}), json!({})), "");
        assert_eq!(
            of(json!({"alg": "ES256", "typ": "at+jwt"}), json!({"iss": "https://id.example", "ver": null})),
            ""
        );
    }

    #[test]
    fn each_oddity_has_its_remark() {
        let plain = json!({"alg": "RS256"});
        for (header, changes, remark) in [
            (json!({"alg": "none"}), json!({}), "signed with `none`"),
            (json!({"alg": "HS256"}), json!({}), "signed with `HS256`"),
            (json!({}), json!({}), "names no algorithm"),
            (json!({"alg": "RS256", "typ": "dpop+jwt"}), json!({}), "Its type is `dpop+jwt`"),
            (json!({"alg": "RS256", "nonce": "n"}), json!({}), "a nonce in its header"),
            (plain.clone(), json!({"exp": 1_794_999_700}), "expired 5 min ago"),
            (plain.clone(), json!({"exp": null}), "never expires"),
            (plain.clone(), json!({"nbf": 1_795_000_300}), "valid only in 5 min"),
            (plain.clone(), json!({"aud": GRAPH[0]}), "for Microsoft Graph"),
            (plain.clone(), json!({"aud": [GRAPH[1]]}), "for Microsoft Graph"),
            (plain.clone(), json!({"aud": null}), "for nobody"),
            (plain.clone(), json!({"scp": null}), "probably an ID token"),
            (plain.clone(), json!({"scp": null, "idtyp": "app"}), "an application's"),
            (plain.clone(), json!({"ver": "1.0"}), "not that of version 1.0"),
            (plain.clone(), json!({"ver": "3.0"}), "neither 1.0 nor 2.0"),
            (plain, json!({"cnf": {"jkt": "x"}}), "bound to a key"),
        ] {
            let said = of(header.clone(), changes.clone());
            assert!(said.contains(remark), "{header} {changes}: {said}");
        }
    }
}
