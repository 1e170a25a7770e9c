//! What a caller is told: the first line is what stands for every word of the configuration, the second how to sign in, the
//! rest claims.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header;
use obo_proxy::pipeline::exchange::demand;
use obo_proxy::pipeline::respond::challenge::Demand;
use obo_proxy::pipeline::respond::challenge::Realm;
use obo_proxy::pipeline::respond::challenge::challenge;

/// Whatever goes into a challenge, it is one and no parameter is added to it; our own reader sees in it what was meant, and claims
/// come out byte for byte.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut lines = text.splitn(3, '\n');
    let [word, classes, claims] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let realm = Realm {
        realm: word.into(),
        authorization_uri: word.into(),
        client_id: word.into(),
        // as `resource::metadata_url` makes it, without a comma or quote
        resource_metadata: Some("https://api.example/.well-known/oauth-protected-resource".into()),
    };
    let scopes = [classes.to_owned(), word.to_owned()];
    for demand in [
        Demand::Token,
        Demand::ValidRequest,
        Demand::ValidToken,
        Demand::Scopes(&scopes),
        Demand::Claims(claims),
        Demand::Interaction,
        Demand::StepUp { acr_values: Some(classes), max_age: Some(7) },
    ] {
        let header = challenge(demand, &realm).unwrap();
        let parameters = parameters(header.to_str().unwrap());
        for (at, (name, _)) in parameters.iter().enumerate() {
            assert!(parameters[..at].iter().all(|(own, _)| own != name), "{name} is repeated");
        }
        let value =
            |name: &str| parameters.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let headers = HeaderMap::from_iter([(header::WWW_AUTHENTICATE, header)]);
        let read = demand::Demand::of(&headers);
        match demand {
            Demand::Claims(claims) => {
                assert_eq!(STANDARD.decode(value("claims").unwrap()).unwrap(), claims.as_bytes());
                let expected = demand::Claims::parse(claims);
                assert_eq!(
                    read.claims.as_ref().map(demand::Claims::text),
                    expected.as_ref().map(demand::Claims::text)
                );
            }
            Demand::StepUp { .. } => {
                assert!(value("acr_values").is_none_or(|classes| !classes.contains(',')));
                assert_eq!(read.step_up.unwrap().max_age, Some(7));
            }
            _ => assert_eq!(read, demand::Demand::default()),
        }
    }
}

/// The parameters of the one challenge that `header` is: `name="value"`, with a comma and a space between.
fn parameters(header: &str) -> Vec<(String, String)> {
    let mut rest = header.strip_prefix("Bearer ").unwrap();
    let mut found = Vec::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap();
        let (value, after) = after.split_once('"').unwrap();
        assert!(
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{header}"
        );
        assert!(!value.contains('\\') && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
        found.push((name.to_owned(), value.to_owned()));
        if after.is_empty() {
            return found;
        }
        rest = after.strip_prefix(", ").unwrap_or_else(|| panic!("{header}"));
    }
}
