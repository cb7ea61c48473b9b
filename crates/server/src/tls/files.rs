//! Certificates, keys and authorities from their files.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use stdx::clock;

use super::validity::Validity;
use super::{TlsError, TlsOptions};
use crate::limits::TLS_FILE_LEN_MAX;

const CHAIN: &str = "certificate chain";
const KEY: &str = "key";
const AUTHORITIES: &str = "CA certificate";

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFormat {
    /// Text, between BEGIN and END.
    Pem,
    /// Bytes.
    Der,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// Not read to its end.
    #[error("longer than {TLS_FILE_LEN_MAX} bytes")]
    TooLong,
    /// Not PEM. What stands in it is not told: it may be a key.
    #[error("it is no PEM file, or a damaged one")]
    NotPem,
    /// Nothing of what is looked for.
    #[error("there is no {0} in it")]
    Nothing(&'static str),
    /// A key that is not understood.
    #[error(
        "the key is damaged, encrypted, or of a kind that is not supported (RSA, ECDSA P-256 or P-384, Ed25519)"
    )]
    BadKey,
    /// A certificate that is not understood.
    #[error("certificate {0} in it is damaged or of a kind that is not supported")]
    BadCertificate(usize),
    /// Key and certificate are of different pairs.
    #[error("it is not the key of the certificate")]
    Mismatch,
}

/// The node's certificate with its chain and its key.
pub(super) fn certificate(
    options: &TlsOptions,
    provider: &CryptoProvider,
    notes: &mut Vec<String>,
) -> Result<Arc<CertifiedKey>, TlsError> {
    let of_chain = |source| TlsError::File { what: CHAIN, path: options.chain.clone(), source };
    let of_key = |source| TlsError::File { what: KEY, path: options.key.clone(), source };
    let chain = certificates(&options.chain).map_err(of_chain)?;
    let key = key(&options.key, options.key_format).map_err(of_key)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| of_key(FileError::BadKey))?;
    let validity = chain.first().and_then(|certificate| Validity::of(certificate));
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // `Other`: an old kind of certificate, which clients may take all the same.
        Ok(())
        | Err(
            rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)
            | rustls::Error::InvalidCertificate(CertificateError::Other(_)),
        ) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(of_key(FileError::Mismatch)),
        Err(_) => return Err(of_chain(FileError::BadCertificate(1))),
    }
    let now_s = i64::try_from(clock::unix_millis() / 1000).unwrap_or(i64::MAX);
    if let Some(problem) = validity.and_then(|validity| validity.problem(now_s)) {
        notes.push(format!("{}: {problem}: clients will refuse it", options.chain.display()));
    }
    Ok(Arc::new(certified))
}

/// Whose client certificates are believed; `None`: nobody's.
pub(super) fn authorities(options: &TlsOptions) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    let Some(path) = &options.authorities else { return Ok(None) };
    let failed = |source| TlsError::File { what: AUTHORITIES, path: path.clone(), source };
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates(path).map_err(failed)?.into_iter().enumerate() {
        store.add(certificate).map_err(|_| failed(FileError::BadCertificate(index + 1)))?;
    }
    Ok(Some(Arc::new(store)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = read(path)?;
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|_| FileError::NotPem)?;
    if certificates.is_empty() { Err(FileError::Nothing("certificate")) } else { Ok(certificates) }
}

fn key(path: &Path, format: KeyFormat) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(path)?;
    match format {
        KeyFormat::Der => PrivateKeyDer::try_from(bytes).map_err(|_| FileError::BadKey),
        KeyFormat::Pem => PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
            pem::Error::NoItemsFound => FileError::Nothing("private key (encrypted ones are not read)"),
            _ => FileError::NotPem,
        }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(TLS_FILE_LEN_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > TLS_FILE_LEN_MAX { Err(FileError::TooLong) } else { Ok(bytes) }
}
