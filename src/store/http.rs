//! What every HTTP client of ours has in common: whom it trusts, how much it reads, and how it says what went wrong.
//!
//! No message from here holds an address, a header or a body.

use std::path::Path;
use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::StoreError;
use crate::config::is_loopback;

/// Whom a client trusts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchors<'a> {
    /// Nobody: it speaks plain HTTP. Reading the system's anchors costs more than a whole request over plain HTTP.
    Nobody,
    /// The system's anchors, and those of this file beside them.
    System(Option<&'a Path>),
}

/// The TLS settings of a client.
///
/// # Errors
/// [`StoreError::Local`] when the CA file cannot be used.
pub(super) fn tls(anchors: Anchors<'_>) -> Result<rustls::ClientConfig, StoreError> {
    let mut roots = rustls::RootCertStore::empty();
    if let Anchors::System(ca_file) = anchors {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if let Some(path) = ca_file {
            let unusable = |why: String| StoreError::Local(format!("the CA file {} {why}", path.display()));
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unusable(format!("cannot be read: {error}")))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(unusable("holds no usable certificate".to_owned()));
            }
        }
    }
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| StoreError::Local(format!("TLS could not be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The client of one address: what goes to this machine goes there itself. A proxy of the environment would get it first, and
/// plain HTTP is allowed to this machine because nobody can read it on the way.
pub(super) fn straight(builder: ClientBuilder, base: &Url) -> ClientBuilder {
    if is_loopback(base) { builder.no_proxy() } else { builder }
}

/// Why there is no whole body.
#[derive(Debug)]
pub(super) enum NoBody {
    /// It is larger than the limit; the rest was not read.
    TooLarge,
    /// It broke off.
    Broken(String),
}

/// The decoded body, of at most `limit` bytes.
pub(super) async fn body(mut response: reqwest::Response, limit: usize) -> Result<Vec<u8>, NoBody> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(NoBody::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(NoBody::Broken(format!("the answer broke off: {}", reason(&error)))),
        }
    }
}

/// The cause of a transport error, without its URL: the innermost text says most ("connection refused").
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".to_owned();
    }
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    // The outermost error prints its URL, which may be long or hold what an operator would rather not see in a log.
    if std::ptr::addr_eq(innermost, error) { "the request failed".to_owned() } else { text }
}
