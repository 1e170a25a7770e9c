//! What must differ each time: ids of requests and tokens.

use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A random GUID (RFC 9562 section 5.4).
///
/// # Errors
/// If the system has no randomness.
pub fn guid() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 16];
    rand::fill(&mut bytes)?;
    let random = u128::from_be_bytes(bytes);
    let version_cleared = random & !(0xf << 76) & !(0b11 << 62);
    let hex = format!("{:032x}", version_cleared | (4 << 76) | (0b10 << 62));
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    Ok([part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-"))
}

/// 32 random bytes as text.
///
/// # Errors
/// If the system has no randomness.
pub fn text() -> anyhow::Result<String> {
    let mut bytes = [0_u8; 32];
    rand::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use crate::domain::tenant::TenantId;

    use super::*;

    #[test]
    fn guids_have_their_form_version_and_variant() {
        for _ in 0..50 {
            let guid = guid().unwrap();
            assert!(TenantId::parse(&guid).is_some(), "{guid}");
            assert_eq!(&guid[14..15], "4");
            assert!("89ab".contains(&guid[19..20]), "{guid}");
        }
        assert_ne!(guid().unwrap(), guid().unwrap());
        assert_ne!(text().unwrap(), text().unwrap());
    }
}
