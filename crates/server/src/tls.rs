//! TLS of a node: from files and words to what its listeners start connections from.
//!
//! Owned by the options and shared by all workers; the files are read at the start and again when asked (`refresh_certs`,
//! SIGHUP), by the thread that asks. New files that are wrong change nothing; connections keep what they began with.
//!
//! **Invariant**: whatever this hands out has a certificate with its own key, and asks for client certificates only
//! where there is somebody to believe them from.

pub mod ciphers;
mod files;
mod validity;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use net::TlsAcceptor;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::default_provider;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use stdx::clock;

use crate::limits::TLS_SESSIONS_MAX;
use ciphers::{CipherError, Suites};

pub use files::{FileError, KeyFormat};

/// How TLS is set up; the words are memcached's.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// PEM file with the certificate and those that lead up from it (`ssl_chain_cert`).
    pub chain: PathBuf,
    /// The certificate's key (`ssl_key`); may be the same file, when that is PEM.
    pub key: PathBuf,
    /// How the key is written (`ssl_keyformat`).
    pub key_format: KeyFormat,
    /// What clients must show, on listeners that do not say otherwise (`ssl_verify_mode`).
    pub client_auth: ClientAuth,
    /// PEM file with the authorities whose client certificates are believed (`ssl_ca_cert`).
    pub authorities: Option<PathBuf>,
    /// Which ciphers are spoken in TLS 1.2 (`ssl_ciphers`), as OpenSSL writes it; `None`: all that are here.
    pub ciphers: Option<String>,
    /// TLS 1.2 is spoken too, and not 1.3 only (`ssl_min_version`).
    pub tls12: bool,
    /// Clients may go on with an earlier session (`ssl_session_cache`).
    pub session_cache: bool,
    /// Shown in `stats settings` and nothing else (`ssl_wbuf_size`), in KiB.
    pub write_buffer_kib: u32,
}

impl TlsOptions {
    /// With memcached's defaults.
    pub fn new(chain: PathBuf, key: PathBuf) -> Self {
        Self {
            chain,
            key,
            key_format: KeyFormat::Pem,
            client_auth: ClientAuth::None,
            authorities: None,
            ciphers: None,
            tls12: true,
            session_cache: false,
            write_buffer_kib: 16,
        }
    }
}

/// What a client must show of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Nothing.
    None,
    /// A certificate, if it has one; a wrong one is refused.
    Requested,
    /// A certificate.
    Required,
    /// The same, under the name that it has in OpenSSL when it is asked for once only.
    RequiredOnce,
}

/// The TLS rule of an address that has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// `notls:`, plain connections.
    Off,
    /// `btls:`, no client certificates.
    Basic,
    /// `mtls:`, client certificates are required.
    Mutual,
}

/// Why there is no TLS. Shown behind `Error `, in memcached's words where it has them. Never tells a secret.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("loading the {what}: {}: {source}", path.display())]
    File {
        /// Which of the files.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: FileError,
    },
    /// The list of ciphers.
    #[error("setting the provided cipher(s): {0}")]
    Ciphers(#[from] CipherError),
    /// Clients would have to show certificates that nobody could judge.
    #[error("requiring client certificates: there are no authorities to believe (ssl_ca_cert)")]
    NoAuthorities,
    /// Something that rustls finds wrong in all of it together.
    #[error("setting up TLS: {0}")]
    Rejected(String),
}

/// The TLS of a node. Clones share what is read again.
#[derive(Clone)]
pub struct Tls(Arc<Shared>);

struct Shared {
    options: TlsOptions,
    anonymous: TlsAcceptor,
    /// `None`: nobody would believe a client certificate.
    requested: Option<TlsAcceptor>,
    required: Option<TlsAcceptor>,
    /// On the clock of ordinary timers.
    refreshed_ms: AtomicU64,
}

/// What one reading of the files gives.
struct Configs {
    anonymous: Arc<ServerConfig>,
    /// For requested and for required client certificates.
    authenticated: Option<[Arc<ServerConfig>; 2]>,
    notes: Vec<String>,
}

impl Tls {
    /// Reads and checks everything. Also says what works and will yet surprise: a certificate that clients will
    /// refuse for its dates, ciphers that are not here.
    pub fn open(options: &TlsOptions) -> Result<(Self, Vec<String>), TlsError> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // Read again later, when a daemon has left this directory.
        let options = TlsOptions {
            chain: absolute(&options.chain),
            key: absolute(&options.key),
            authorities: options.authorities.as_deref().map(absolute),
            ..options.clone()
        };
        let configs = Configs::read(&options)?;
        let [requested, required] = match configs.authenticated {
            Some(both) => both.map(|config| Some(TlsAcceptor::new(config))),
            None => [None, None],
        };
        let anonymous = TlsAcceptor::new(configs.anonymous);
        let refreshed_ms = AtomicU64::new(now_ms());
        let shared = Shared { options, anonymous, requested, required, refreshed_ms };
        Ok((Self(Arc::new(shared)), configs.notes))
    }

    /// Reads the files again. After an error everything is as before.
    pub fn reload(&self) -> Result<Vec<String>, TlsError> {
        let shared = &self.0;
        let configs = Configs::read(&shared.options)?;
        shared.anonymous.replace(configs.anonymous);
        for (acceptor, config) in
            [&shared.requested, &shared.required].into_iter().zip(configs.authenticated.into_iter().flatten())
        {
            if let Some(acceptor) = acceptor {
                acceptor.replace(config);
            }
        }
        shared.refreshed_ms.store(now_ms(), Ordering::Relaxed);
        Ok(configs.notes)
    }

    /// What it was set up from, with paths from the root.
    pub fn options(&self) -> &TlsOptions {
        &self.0.options
    }

    /// Whole seconds since the files were read.
    pub(crate) fn age_s(&self) -> u64 {
        now_ms().saturating_sub(self.0.refreshed_ms.load(Ordering::Relaxed)) / 1000
    }

    /// What a listener with this rule, or with none of its own, starts connections from; `None`: plain.
    pub(crate) fn acceptor(&self, rule: Option<ListenerTls>) -> Result<Option<TlsAcceptor>, TlsError> {
        let shared = &self.0;
        let needed = |acceptor: &Option<TlsAcceptor>| acceptor.clone().ok_or(TlsError::NoAuthorities);
        Ok(Some(match (rule, shared.options.client_auth) {
            (Some(ListenerTls::Off), _) => return Ok(None),
            (Some(ListenerTls::Basic), _) | (None, ClientAuth::None) => shared.anonymous.clone(),
            (Some(ListenerTls::Mutual), _) | (None, ClientAuth::Required | ClientAuth::RequiredOnce) => {
                needed(&shared.required)?
            }
            // A client that is not believed may as well not be asked.
            (None, ClientAuth::Requested) => shared.requested.as_ref().unwrap_or(&shared.anonymous).clone(),
        }))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.0.options).finish()
    }
}

impl Configs {
    fn read(options: &TlsOptions) -> Result<Self, TlsError> {
        let mut notes = Vec::new();
        let provider = Arc::new(provider(options, &mut notes)?);
        let certificate = files::certificate(options, &provider, &mut notes)?;
        let certificate = Arc::new(SingleCertAndKey::from(certificate));
        let authorities = files::authorities(options)?;
        let config = |builder: Builder| {
            let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as _);
            if options.session_cache {
                config.session_storage = ServerSessionMemoryCache::new(TLS_SESSIONS_MAX);
            } else {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
            Arc::new(config)
        };
        let anonymous = config(builder(options, &provider)?.with_no_client_auth());
        let authenticated = match authorities {
            None => None,
            Some(authorities) => {
                let verifier = || {
                    WebPkiClientVerifier::builder_with_provider(
                        Arc::clone(&authorities),
                        Arc::clone(&provider),
                    )
                };
                let rejected =
                    |error: rustls::server::VerifierBuilderError| TlsError::Rejected(error.to_string());
                let requested = verifier().allow_unauthenticated().build().map_err(rejected)?;
                let required = verifier().build().map_err(rejected)?;
                Some([
                    config(builder(options, &provider)?.with_client_cert_verifier(requested)),
                    config(builder(options, &provider)?.with_client_cert_verifier(required)),
                ])
            }
        };
        Ok(Self { anonymous, authenticated, notes })
    }
}

type Builder = rustls::ConfigBuilder<ServerConfig, rustls::server::WantsServerCert>;

fn builder(
    options: &TlsOptions,
    provider: &Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, TlsError> {
    let versions: &[_] = if options.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(|error| TlsError::Rejected(error.to_string()))
}

fn provider(options: &TlsOptions, notes: &mut Vec<String>) -> Result<CryptoProvider, TlsError> {
    let mut provider = default_provider();
    if let Some(list) = &options.ciphers {
        let Suites { suites, notes: noted } = ciphers::choose(list, &provider.cipher_suites)?;
        provider.cipher_suites = suites;
        notes.extend(noted);
    }
    Ok(provider)
}

fn now_ms() -> u64 {
    clock::now().as_millis()
}
