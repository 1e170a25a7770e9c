//! RSA moduli of the ROCA form (CVE-2017-15361): made by a faulty smart-card library, to be factored by anybody. Pure.

/// Odd primes that divide the constant by which the faulty library made its primes, whatever their size.
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
    107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether `modulus` (big-endian) is of that form: modulo each of these primes it is a power of 65537. Of sound
/// moduli fewer than one in a hundred million look so.
pub fn is_weak(modulus: &[u8]) -> bool {
    PRIMES.iter().all(|&prime| {
        let remainder = modulus.iter().fold(0, |rest, &byte| (rest * 256 + u32::from(byte)) % prime);
        let powers = std::iter::successors(Some(1), |power| Some(power * (65537 % prime) % prime));
        // the powers repeat after fewer than `prime` of them
        powers.zip(0..prime).any(|(power, _)| power == remainder)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::pipeline::authenticate::jws;
    use crate::pipeline::authenticate::testing::Signer;

    #[test]
    fn a_modulus_of_the_faulty_library_is_told_from_a_sound_one() {
        let vectors = include_str!("../../../tests/vectors/wycheproof_jwk.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let groups = vectors["testGroups"].as_array().unwrap();
        let faulty = groups.iter().find(|group| group["comment"] == "jws_rsa_roca_key").unwrap();
        let modulus = |key: &Value| jws::decode(key["n"].as_str().unwrap()).unwrap();
        assert!(is_weak(&modulus(&faulty["public"]["keys"][0])));
        assert!(!is_weak(&modulus(&Signer::rsa().jwk("k"))));
        assert!(!is_weak(&[]));
    }
}
