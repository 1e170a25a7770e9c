//! What a client certificate says, and whether a route admits who shows it. Pure.

use std::net::IpAddr;

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;
use x509_parser::x509::AttributeTypeAndValue;
use x509_parser::x509::X509Name;

use crate::config::RequiredCertificate;
use crate::domain::digest::Digest;
use crate::domain::peer::ATTRIBUTES;
use crate::domain::peer::AlternativeName;
use crate::domain::peer::ClientCertificate;

/// Why a request is refused for its connection's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// None was shown, and the route demands one.
    #[error("no client certificate was shown")]
    Missing,
    /// It is not one of those that the route admits.
    #[error("the client certificate is not admitted by the route")]
    NotAdmitted,
}

/// Checks that `shown` is what the route demands.
///
/// # Errors
/// If it is not, or nothing was shown.
pub fn check(required: &RequiredCertificate, shown: Option<&ClientCertificate>) -> Result<(), Error> {
    let shown = shown.ok_or(Error::Missing)?;
    let subject = required.subjects.is_empty() || required.subjects.contains(&shown.subject);
    let name = required.names.is_empty() || shown.names.iter().any(|name| required.names.contains(name));
    if subject && name { Ok(()) } else { Err(Error::NotAdmitted) }
}

/// What the certificate `der` says. What cannot be read of it is left out: no route then admits it by that.
pub fn read(der: &[u8]) -> ClientCertificate {
    let parsed = parse_x509_certificate(der).ok().map(|(_, certificate)| certificate);
    ClientCertificate {
        digest: Digest::of(der),
        subject: parsed.as_ref().and_then(|certificate| subject(certificate.subject())).unwrap_or_default(),
        names: parsed.as_ref().map(names).unwrap_or_default(),
    }
}

/// The subject alternative names of a certificate, as far as they are host names, URIs or mailboxes.
pub fn names(certificate: &X509Certificate<'_>) -> Vec<AlternativeName> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let known = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(AlternativeName::Dns(name.to_ascii_lowercase())),
        GeneralName::URI(uri) => Some(AlternativeName::Uri((*uri).to_owned())),
        GeneralName::RFC822Name(mailbox) => Some(AlternativeName::Email((*mailbox).to_owned())),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(known).collect()
}

/// The hosts among the subject alternative names of a certificate: names and addresses (RFC 5280 section 4.2.1.6).
pub fn hosts(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(host).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A name as text (RFC 4514 section 2): the last part comes first.
fn subject(name: &X509Name<'_>) -> Option<String> {
    let part = |attributes: &mut dyn Iterator<Item = &AttributeTypeAndValue<'_>>| {
        let texts: Option<Vec<String>> = attributes.map(attribute).collect();
        // a part has one attribute at least (RFC 5280 section 4.1.2.4)
        texts.map(|texts| texts.join("+")).filter(|text| !text.is_empty())
    };
    let parts: Option<Vec<String>> = name.iter_rdn().map(|rdn| part(&mut rdn.iter())).collect();
    let mut parts = parts?;
    parts.reverse();
    Some(parts.join(","))
}

/// `None` if it cannot be said in a way that nothing else is said in.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let is_oid = |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let oid = Some(attribute.attr_type().to_id_string()).filter(is_oid)?;
    let known = ATTRIBUTES.iter().find(|(_, known)| *known == oid);
    match (known, attribute.as_str()) {
        (Some((name, _)), Ok(value)) => Some(format!("{name}={}", escaped(value))),
        // what is no text, or of a type whose form is not known, is shown as it is encoded (section 2.4)
        (known, _) => {
            let name = known.map_or(oid.as_str(), |(name, _)| name);
            encoded(attribute).map(|digits| format!("{name}=#{digits}"))
        }
    }
}

/// The characters that mean something in the text of a name, escaped (section 2.4).
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (at, character) in value.chars().enumerate() {
        match character {
            '\0' => text.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', character]),
            ' ' if at == 0 || at == last => text.push_str("\\ "),
            '#' if at == 0 => text.push_str("\\#"),
            _ => text.push(character),
        }
    }
    text
}

/// The DER form of a value in hexadecimal digits.
fn encoded(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let tag = u8::try_from(value.header.tag().0).ok().filter(|tag| *tag < 31)?;
    let class = u8::try_from(value.header.class() as usize).ok()?;
    let constructed = u8::from(value.header.is_constructed());
    let content = value.data;
    let mut bytes = vec![class << 6 | constructed << 5 | tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length: Vec<u8> = length.iter().copied().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | u8::try_from(length.len()).ok()?);
            bytes.extend(length);
        }
    }
    bytes.extend(content);
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use rcgen::CertificateParams;
    use rcgen::DistinguishedName;
    use rcgen::DnType;
    use rcgen::DnValue;
    use rcgen::KeyPair;
    use rcgen::SanType;

    use super::*;

    fn certificate(parts: Vec<(DnType, DnValue)>, names: Vec<SanType>) -> ClientCertificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind, value);
        }
        params.subject_alt_names = names;
        read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn utf8(text: &str) -> DnValue {
        DnValue::Utf8String(text.into())
    }

    fn subject_of(parts: Vec<(DnType, DnValue)>) -> String {
        certificate(parts, Vec::new()).subject
    }

    #[test]
    fn a_subject_s_text_begins_with_its_last_part() {
        let country = DnValue::PrintableString("DE".try_into().unwrap());
        let parts = vec![
            (DnType::CountryName, country),
            (DnType::OrganizationName, utf8("Example Ltd")),
            (DnType::CommonName, utf8("gateway")),
        ];
        assert_eq!(subject_of(parts), "CN=gateway,O=Example Ltd,C=DE");
        assert_eq!(subject_of(Vec::new()), "");
    }

    #[test]
    fn no_value_can_pretend_to_be_more_than_a_value() {
        for (value, text) in [
            ("gateway,O=Example", "CN=gateway\\,O=Example"),
            ("a+OU=b", "CN=a\\+OU=b"),
            (" a ", "CN=\\ a\\ "),
            (" ", "CN=\\ "),
            ("#04", "CN=\\#04"),
            ("a#\\\"<>;", "CN=a#\\\\\\\"\\<\\>\\;"),
            ("a\0b", "CN=a\\00b"),
            ("Größe", "CN=Größe"),
            ("", "CN="),
        ] {
            assert_eq!(subject_of(vec![(DnType::CommonName, utf8(value))]), text);
        }
    }

    #[test]
    fn a_type_without_a_name_is_shown_by_number_and_a_value_that_is_no_text_as_it_is_encoded() {
        let title = DnType::CustomDnType(vec![2, 5, 4, 12]);
        assert_eq!(subject_of(vec![(title.clone(), utf8("Dr"))]), "2.5.4.12=#0c024472");
        let long = "x".repeat(200);
        let digits = "78".repeat(200);
        assert_eq!(subject_of(vec![(title, utf8(&long))]), format!("2.5.4.12=#0c81c8{digits}"));
        let bmp = DnValue::BmpString("ab".try_into().unwrap());
        assert_eq!(subject_of(vec![(DnType::CommonName, bmp)]), "CN=#1e0400610062");
        let mailbox = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
        assert_eq!(subject_of(vec![(mailbox, utf8("a@b.example"))]), "emailAddress=a@b.example");
    }

    #[test]
    fn a_subject_of_which_a_part_has_no_name_is_none() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, utf8("Example Ltd"));
        let good = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
        assert_eq!(read(&good).subject, "O=Example Ltd");
        // the attribute's type, 2.5.4.10, becomes NULL
        let (oid, null) = ([6, 3, 0x55, 4, 10], [5, 0, 0x55, 4, 10]);
        let mut bad = good.clone();
        for at in 0..bad.len() - oid.len() {
            if bad[at..].starts_with(&oid) {
                bad[at..at + oid.len()].copy_from_slice(&null);
            }
        }
        assert_ne!(bad, good);
        assert_eq!(read(&bad).subject, "");
    }

    #[test]
    fn alternative_names_are_of_three_kinds() {
        let names = vec![
            SanType::DnsName("API.example".try_into().unwrap()),
            SanType::URI("spiffe://example/ns/a".try_into().unwrap()),
            SanType::Rfc822Name("ops@example".try_into().unwrap()),
            SanType::IpAddress("127.0.0.1".parse().unwrap()),
        ];
        let expected = [
            AlternativeName::Dns("api.example".into()),
            AlternativeName::Uri("spiffe://example/ns/a".into()),
            AlternativeName::Email("ops@example".into()),
        ];
        assert_eq!(certificate(Vec::new(), names).names, expected);
    }

    #[test]
    fn what_is_no_certificate_has_a_digest_and_nothing_else() {
        let read = read(b"rubbish");
        assert_eq!((read.digest, read.subject.as_str(), read.names.len()), (Digest::of(b"rubbish"), "", 0));
    }

    #[test]
    fn both_lists_must_agree_and_a_name_counts_as_its_own_kind_only() {
        let shown = ClientCertificate {
            digest: Digest::of(b""),
            subject: "CN=gateway,O=Example".into(),
            names: vec![AlternativeName::Email("api.example".into()), AlternativeName::Uri("a:b".into())],
        };
        let verdict = |subjects: &[&str], names: &[AlternativeName], shown| {
            let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
            check(&RequiredCertificate { subjects, names: names.to_vec() }, shown)
        };
        let uri = AlternativeName::Uri("a:b".into());
        let other = AlternativeName::Uri("a:c".into());
        for (subjects, names, passes) in [
            (&["CN=gateway,O=Example"][..], &[][..], true),
            (&["CN=x", "CN=gateway,O=Example"], &[], true),
            (&["CN=gateway"], &[], false),
            (&["cn=gateway,o=example"], &[], false),
            (&[], &[other.clone(), uri.clone()], true),
            (&[], std::slice::from_ref(&other), false),
            (&[], &[AlternativeName::Dns("api.example".into())], false),
            (&["CN=gateway,O=Example"], std::slice::from_ref(&uri), true),
            (&["CN=gateway,O=Example"], std::slice::from_ref(&other), false),
            (&["CN=x"], std::slice::from_ref(&uri), false),
        ] {
            let expected = if passes { Ok(()) } else { Err(Error::NotAdmitted) };
            assert_eq!(verdict(subjects, names, Some(&shown)), expected, "{subjects:?} {names:?}");
            assert_eq!(verdict(subjects, names, None), Err(Error::Missing));
        }
    }
}
