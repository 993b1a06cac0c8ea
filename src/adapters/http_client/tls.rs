//! Whose certificates are trusted.
//!
//! The system's authorities are what its administrator trusts, his own included, and they
//! are renewed with the system (docs/decisions/0005). Sessions are not resumed: a server that
//! resumes one does not show its certificate, and a probe is there to see that it expires.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::error::is_self_signed;
use crate::adapters::small_file::{Stamp, stamp};

/// The authorities of a whole system are a tenth of this.
const MOST_BYTES: u64 = 4 << 20;

/// Whose certificates are good.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) enum Trust {
    /// Those that the system's authorities have signed.
    #[default]
    System,
    /// Those in this file, PEM, and those that they have signed. Read again when it changes.
    File(PathBuf),
    /// All: encrypted, to whomever.
    Anyone,
}

/// A configuration and what it was made from.
#[derive(Clone)]
pub(super) struct Cached {
    pub(super) config: Arc<ClientConfig>,
    stamp: Option<Stamp>,
}

impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").finish_non_exhaustive()
    }
}

/// The configuration for this trust: the known one, unless its file has changed. Reads files.
pub(super) fn fresh(trust: &Trust, known: Option<Cached>) -> Result<Cached, String> {
    let stamp = match trust {
        Trust::File(path) => stamp(path).ok(),
        Trust::System | Trust::Anyone => None,
    };
    if let Some(known) = known
        && known.stamp == stamp
    {
        return Ok(known);
    }
    let provider = Arc::new(ring::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::System => Arc::new(Pinned::new(Vec::new(), system_roots()?, &provider)?),
        Trust::File(path) => {
            let (certificates, roots) = read(path)?;
            Arc::new(Pinned::new(certificates, roots, &provider)?)
        }
        Trust::Anyone => Arc::new(Unverified(Arc::clone(&provider))),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    Ok(Cached { config, stamp })
}

fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system may have some that nobody can read: the others are good all the same.
    let (added, _ignored) = roots.add_parsable_certificates(found.certs);
    if added > 0 {
        return Ok(roots);
    }
    let why = found.errors.first().map(|error| format!(" ({error})"));
    Err(format!(
        "no certificate authorities are installed here{}: \
         install ca-certificates or name a ca_file",
        why.unwrap_or_default()
    ))
}

fn read(path: &Path) -> Result<(Vec<CertificateDer<'static>>, RootCertStore), String> {
    let shown = path.display();
    let unreadable = |why: &dyn fmt::Display| format!("{shown} cannot be read: {why}");
    let mut pem = Vec::new();
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut pem)
        .map_err(|error| unreadable(&error))?;
    if u64::try_from(pem.len()).is_ok_and(|length| length > MOST_BYTES) {
        return Err(unreadable(&"longer than 4 MiB"));
    }
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        roots
            .add(certificate.clone())
            .map_err(|error| unreadable(&error))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(format!(
            "{shown} has no certificates: PEM is wanted, -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok((certificates, roots))
}

/// Trusts authorities, and certificates that were named themselves: what `openssl req -x509`
/// makes calls itself an authority, which a server's certificate strictly may not be.
#[derive(Debug)]
struct Pinned {
    certificates: Vec<CertificateDer<'static>>,
    strict: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let builder =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let strict = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            certificates,
            strict,
        })
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let strict = self.strict.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        match strict {
            // That it is within its time has been seen to before.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if is_self_signed(&why) && self.certificates.contains(end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// Trusts whoever has the key of the certificate that he shows.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
