//! `ssl_ciphers`: OpenSSL's list of ciphers, applied to those that are here.
//!
//! Words are separated by colons, commas or spaces. A word names a suite, or with `+` between them what a suite must
//! have (`ECDHE+AESGCM`); `!` and `-` before a word take away what it names. As in OpenSSL the list is about TLS 1.2:
//! the suites of TLS 1.3 are always there.

use rustls::{CipherSuite, SupportedCipherSuite};

/// What a list leaves.
#[derive(Debug)]
pub(super) struct Suites {
    pub(super) suites: Vec<SupportedCipherSuite>,
    /// Words that name nothing here.
    pub(super) notes: Vec<String>,
}

/// A list that leaves nothing to speak in TLS 1.2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{list}: none of these is supported; there are {}", names())]
pub struct CipherError {
    /// The list as it was given.
    pub list: String,
}

/// The suites of TLS 1.2 by OpenSSL's names, and the words beside those in the name that mean them.
const SUITES: [(&str, &[&str], CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", AES, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", AES, CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", OTHER, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", AES, CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", AES, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", OTHER, CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];

const AES: &[&str] = &["HIGH", "DEFAULT", "ALL", "EECDH", "kECDHE", "TLSv1.2", "AES", "AESGCM"];
const OTHER: &[&str] = &["HIGH", "DEFAULT", "ALL", "EECDH", "kECDHE", "TLSv1.2"];

/// Applies a list to what there is.
pub(super) fn choose(list: &str, all: &[SupportedCipherSuite]) -> Result<Suites, CipherError> {
    let mut chosen: Vec<CipherSuite> = Vec::new();
    let mut killed: Vec<CipherSuite> = Vec::new();
    let mut notes = Vec::new();
    for word in list.split([':', ',', ' ']).filter(|word| !word.is_empty()) {
        let bare = word.trim_start_matches(['!', '-', '+']);
        let named = || SUITES.iter().filter(|suite| is_meant(bare, suite)).map(|suite| suite.2);
        if word.starts_with('@') {
            notes.push(format!("\"{word}\": there is one order and one level, both strong"));
        } else if word.starts_with('!') {
            killed.extend(named());
        } else if word.starts_with('-') {
            let gone: Vec<CipherSuite> = named().collect();
            chosen.retain(|suite| !gone.contains(suite));
        } else if named().next().is_none() {
            notes.push(format!("\"{word}\" is not supported"));
        } else if !word.starts_with('+') {
            chosen.extend(named());
        }
    }
    chosen.retain(|suite| !killed.contains(suite));
    if chosen.is_empty() {
        return Err(CipherError { list: list.to_owned() });
    }
    let stays = |suite: &&SupportedCipherSuite| suite.tls13().is_some() || chosen.contains(&suite.suite());
    let notes = notes.into_iter().map(|note| format!("ssl_ciphers: {note}")).collect();
    Ok(Suites { suites: all.iter().filter(stays).copied().collect(), notes })
}

/// Whether a word without its sign means a suite: by its name, OpenSSL's or the standard's, or by all of its parts.
fn is_meant(word: &str, (name, groups, suite): &(&str, &[&str], CipherSuite)) -> bool {
    let standard = suite.as_str().unwrap_or_default();
    let has = |part: &str| {
        let part = if matches!(part, "aRSA" | "aECDSA") { &part[1..] } else { part };
        groups.contains(&part) || name.split('-').any(|own| own == part)
    };
    word == *name || word == standard || word.split('+').all(has)
}

fn names() -> String {
    SUITES.map(|suite| suite.0).join(", ")
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring::ALL_CIPHER_SUITES;

    use super::*;

    #[track_caller]
    fn check(list: &str, expect: &[&str], noted: &[&str]) {
        let Suites { suites, notes } = choose(list, ALL_CIPHER_SUITES).expect(list);
        assert_eq!(suites.iter().filter(|suite| suite.tls13().is_some()).count(), 3, "{list}");
        let names: Vec<&str> = SUITES
            .iter()
            .filter(|known| suites.iter().any(|suite| suite.suite() == known.2))
            .map(|known| known.0)
            .collect();
        assert_eq!(names, expect, "{list}");
        assert_eq!(notes, noted, "{list}");
    }

    #[test]
    fn lists_are_read_as_openssl_writes_them() {
        let all = SUITES.map(|suite| suite.0);
        check("HIGH", &all, &[]);
        check("DEFAULT:!aNULL:!MD5:!RC4:-SSLv3", &all, &[]);
        check("ECDHE-RSA-AES128-GCM-SHA256", &[all[4]], &[]);
        check("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", &[all[4]], &[]);
        check("ECDHE+AESGCM:ECDHE+CHACHA20", &all, &[]);
        check("EECDH+AESGCM:!ECDSA", &[all[3], all[4]], &[]);
        check("aRSA+CHACHA20, ECDHE-ECDSA-AES256-GCM-SHA384", &[all[0], all[5]], &[]);
        check("HIGH:-AES:!CHACHA20:AES256", &[all[0], all[3]], &[]);
        check("HIGH:+ECDSA", &all, &[]);
    }

    #[test]
    fn what_is_not_here_is_named() {
        let all = SUITES.map(|suite| suite.0);
        check(
            "AES256-SHA:ECDHE-RSA-AES256-GCM-SHA384:DHE+AES:@STRENGTH",
            &[all[3]],
            &[
                "ssl_ciphers: \"AES256-SHA\" is not supported",
                "ssl_ciphers: \"DHE+AES\" is not supported",
                "ssl_ciphers: \"@STRENGTH\": there is one order and one level, both strong",
            ],
        );
        for list in ["foo", "", "AES256-SHA:RC4", "!ECDHE", "HIGH:!HIGH"] {
            let error = choose(list, ALL_CIPHER_SUITES).expect_err(list).to_string();
            assert!(
                error.starts_with(&format!("{list}: none of these is supported; there are ECDHE-")),
                "{error}"
            );
        }
    }
}
