//! TLS as memcached's words ask for it: `-Z` and the `ssl_` words of `-o`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use server::{ClientAuth, KeyFormat, ListenerTls, Tls, TlsOptions};

/// The `ssl_` words as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsWords {
    pub(super) chain_cert: Option<String>,
    pub(super) key: Option<String>,
    pub(super) keyformat: Option<String>,
    pub(super) verify_mode: Option<u64>,
    pub(super) ciphers: Option<String>,
    pub(super) ca_cert: Option<String>,
    pub(super) wbuf_size: Option<u64>,
    pub(super) min_version: Option<u64>,
    pub(super) session_cache: bool,
}

/// TLS that is ready to be used.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) tls: Tls,
    /// What works and will yet surprise.
    pub(super) warnings: Vec<String>,
}

/// Reads the files, if there is to be TLS.
pub(super) fn open(
    is_enabled: bool,
    words: &TlsWords,
    rules: &[ListenerTls],
    notes: &mut Vec<String>,
) -> Result<Option<Opened>> {
    if !is_enabled {
        let asks = rules.iter().any(|rule| *rule != ListenerTls::Off);
        ensure!(!asks, "--listen: btls: and mtls: need TLS to be enabled (-Z)");
        if *words != TlsWords::default() {
            notes.push("-o ssl_…: TLS is not enabled (-Z)".to_owned());
        }
        return Ok(None);
    }
    let options = options(words, notes)?;
    let needs_authorities = matches!(options.client_auth, ClientAuth::Required | ClientAuth::RequiredOnce)
        || rules.contains(&ListenerTls::Mutual);
    ensure!(
        options.authorities.is_some() || !needs_authorities,
        "-Z (--enable-ssl): client certificates are required (ssl_verify_mode, mtls:), and no authority would be believed: name the file of authorities with -o ssl_ca_cert=FILE"
    );
    let (tls, warnings) =
        Tls::open(&options).map_err(anyhow::Error::msg).context("-Z (--enable-ssl): error")?;
    Ok(Some(Opened { tls, warnings }))
}

fn options(words: &TlsWords, notes: &mut Vec<String>) -> Result<TlsOptions> {
    let Some(chain) = &words.chain_cert else {
        bail!("-Z (--enable-ssl): name the certificate's file with -o ssl_chain_cert=FILE");
    };
    let key = words.key.as_ref().unwrap_or(chain);
    if words.verify_mode == Some(1) && words.ca_cert.is_none() {
        notes.push(
            "-o ssl_verify_mode=1: without ssl_ca_cert no client is asked for a certificate".to_owned(),
        );
    }
    if words.min_version.is_some_and(|version| version < 2) {
        notes.push("-o ssl_min_version: TLS below 1.2 is not spoken".to_owned());
    }
    if words.wbuf_size.is_some() {
        notes.push("-o ssl_wbuf_size: buffers have limits of their own".to_owned());
    }
    Ok(TlsOptions {
        key_format: key_format(words.keyformat.as_deref())?,
        client_auth: client_auth(words.verify_mode),
        authorities: words.ca_cert.as_ref().map(PathBuf::from),
        ciphers: words.ciphers.clone(),
        tls12: words.min_version != Some(3),
        session_cache: words.session_cache,
        write_buffer_kib: words.wbuf_size.and_then(|size| u32::try_from(size).ok()).unwrap_or(16),
        ..TlsOptions::new(chain.into(), key.into())
    })
}

fn client_auth(mode: Option<u64>) -> ClientAuth {
    match mode {
        Some(1) => ClientAuth::Requested,
        Some(2) => ClientAuth::Required,
        Some(3) => ClientAuth::RequiredOnce,
        _ => ClientAuth::None,
    }
}

/// By name, as memcached's help says, or by OpenSSL's number, as its program takes it.
fn key_format(name: Option<&str>) -> Result<KeyFormat> {
    match name {
        None | Some("PEM" | "1") => Ok(KeyFormat::Pem),
        Some("DER" | "2") => Ok(KeyFormat::Der),
        Some(name) => bail!("-o ssl_keyformat={name}: PEM (1) or DER (2); there are no engines"),
    }
}
