//! Calls to servers with good and bad certificates, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::*;
use super::server::{serve, serve_tls};
use super::{PATIENT, get};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A directory of keys and certificates.
pub(crate) struct Papers {
    directory: tempfile::TempDir,
    /// By how much the clock of their makers is wrong, as faketime says it.
    shift: &'static str,
}

impl Papers {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
            shift: "+0d",
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("faketime")
            .current_dir(self.directory.path())
            .args(["-f", self.shift, "openssl"])
            .args(arguments)
            .output()
            .expect("faketime runs: apt-get install faketime");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{arguments:?}: {said}");
    }

    /// A certificate for ten days that its own key has signed, as everybody makes one.
    pub(crate) fn self_signed(&self, name: &str, extensions: &[&str]) -> PathBuf {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        let subject = format!("/CN={name}");
        let mut arguments = vec!["req", "-x509", "-newkey", "ec", "-nodes", "-days", "10"];
        arguments.extend(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        arguments.extend(["-keyout", &key, "-out", &certificate, "-subj", &subject]);
        for extension in extensions {
            arguments.extend(["-addext", extension]);
        }
        self.openssl(&arguments);
        self.path(&certificate)
    }

    /// A certificate for three days that `issuer` has signed.
    fn signed(&self, name: &str, issuer: &str, extensions: &str) {
        let (key, request) = (format!("{name}.key"), format!("{name}.csr"));
        let (certificate, subject) = (format!("{name}.pem"), format!("/CN={name}"));
        let mut arguments = vec!["req", "-newkey", "ec", "-nodes"];
        arguments.extend(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        arguments.extend(["-keyout", &key, "-out", &request, "-subj", &subject]);
        self.openssl(&arguments);
        let file = format!("{name}.ext");
        std::fs::write(self.path(&file), extensions).expect("written");
        let (ca, ca_key) = (format!("{issuer}.pem"), format!("{issuer}.key"));
        let mut arguments = vec!["x509", "-req", "-in", &request, "-out", &certificate];
        arguments.extend(["-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"]);
        arguments.extend(["-days", "3", "-extfile", &file]);
        self.openssl(&arguments);
    }

    /// A server that shows this certificate.
    pub(crate) fn server(&self, name: &str) -> super::Served {
        serve_tls(OK, config(self.directory.path(), name))
    }
}

fn config(papers: &Path, name: &str) -> ServerConfig {
    let chain = CertificateDer::pem_file_iter(papers.join(format!("{name}.pem")))
        .expect("a file")
        .collect::<Result<Vec<_>, _>>()
        .expect("certificates");
    let key = PrivateKeyDer::from_pem_file(papers.join(format!("{name}.key"))).expect("a key");
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair")
}

pub(crate) const LOCAL: &str = "subjectAltName=DNS:localhost,IP:127.0.0.1";

async fn reason(server: &super::Served, trust: &Trust) -> String {
    let answer = get(&server.address("/"), trust, PATIENT).await;
    answer.expect_err("a bad certificate").to_string()
}

#[actix_rt::test]
async fn a_self_signed_certificate_is_good_for_whom_is_told_so() {
    let papers = Papers::new();
    let file = papers.self_signed("local", &[LOCAL]);
    let server = papers.server("local");
    for (address, trust) in [
        (server.address("/"), Trust::File(file.clone())),
        (server.address_at("localhost"), Trust::File(file)),
        (server.address("/"), Trust::Anyone),
    ] {
        let answer = get(&address, &trust, PATIENT).await.expect("an answer");
        assert_eq!(&answer.body[..], b"ok");
    }
    let said = reason(&server, &Trust::System).await;
    assert_eq!(
        said,
        "shows a certificate that is self-signed and not trusted"
    );
}

#[actix_rt::test]
async fn a_certificate_of_an_own_authority_is_good_where_that_is_trusted() {
    let papers = Papers::new();
    let ca = papers.self_signed("authority", &[]);
    papers.signed("server", "authority", LOCAL);
    let server = papers.server("server");
    let answer = get(&server.address("/"), &Trust::File(ca), PATIENT).await;
    assert_eq!(&answer.expect("an answer").body[..], b"ok");
    let said = reason(&server, &Trust::System).await;
    assert_eq!(
        said,
        "shows a certificate that no trusted authority has signed"
    );
    let stranger = Trust::File(papers.self_signed("stranger", &[]));
    let said = reason(&server, &stranger).await;
    assert_eq!(
        said,
        "shows a certificate that no trusted authority has signed"
    );
}

#[actix_rt::test]
async fn f55_a_certificate_for_another_name_is_refused_and_says_for_which() {
    let papers = Papers::new();
    let file = papers.self_signed("other", &["subjectAltName=DNS:example.org"]);
    let said = reason(&papers.server("other"), &Trust::File(file)).await;
    assert_eq!(
        said,
        "shows a certificate for example.org, not for 127.0.0.1"
    );
    let file = papers.self_signed("nameless", &[]);
    let said = reason(&papers.server("nameless"), &Trust::File(file)).await;
    assert_eq!(
        said,
        "shows a certificate without a name (no subjectAltName), not for 127.0.0.1"
    );
}

#[actix_rt::test]
async fn f55_a_certificate_out_of_its_time_is_refused_and_says_since_or_until_when() {
    let mut papers = Papers::new();
    let ca = Trust::File(papers.self_signed("authority", &[]));
    papers.shift = "-5d";
    papers.signed("expired", "authority", LOCAL);
    let said = reason(&papers.server("expired"), &ca).await;
    assert_eq!(said, "shows a certificate that expired 2days ago");
    // Not even the trust in itself makes it good.
    papers.shift = "-11d";
    let old = papers.self_signed("old", &[LOCAL]);
    let said = reason(&papers.server("old"), &Trust::File(old)).await;
    assert_eq!(said, "shows a certificate that expired 1day ago");
    papers.shift = "+3d";
    let young = papers.self_signed("young", &[LOCAL]);
    let said = reason(&papers.server("young"), &Trust::File(young)).await;
    // Between its making and now an hour may have begun.
    let days = said.strip_prefix("shows a certificate that becomes valid in ");
    assert!(days.is_some_and(|days| days.starts_with("3days") || days.starts_with("2days 23h")));
}

#[actix_rt::test]
async fn a_file_that_changes_is_read_again() {
    let papers = Papers::new();
    let file = papers.self_signed("stranger", &[LOCAL]);
    let calls = HttpCalls::default();
    let trust = Trust::File(file.clone());
    papers.self_signed("local", &[LOCAL]);
    let server = papers.server("local");
    let address: Uri = server.address("/").parse().expect("an address");
    let get = async || {
        let client = calls.client(&address, &trust).await?;
        let request = client.request(Method::GET, &address).force_close();
        client.call(request, "", PATIENT).await
    };
    assert!(get().await.is_err());
    std::fs::rename(papers.path("local.pem"), file).expect("replaced");
    assert!(get().await.is_ok());
}

#[actix_rt::test]
async fn a_file_without_certificates_is_our_own_fault() {
    let papers = Papers::new();
    let (none, empty, broken) = (
        papers.path("none"),
        papers.path("empty"),
        papers.path("broken"),
    );
    std::fs::write(&empty, "not a certificate\n").expect("written");
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    std::fs::write(&broken, pem).expect("written");
    for (path, why) in [
        (none, "cannot be read: No such file"),
        (empty, "has no certificates: PEM is wanted"),
        (broken, "cannot be read: "),
        ("/dev/zero".into(), "cannot be read: longer than 4 MiB"),
    ] {
        let shown = path.display().to_string();
        let error = get("https://127.0.0.1:1/", &Trust::File(path), PATIENT).await;
        let said = error.expect_err("no trust").to_string();
        assert!(
            said.starts_with(&format!("cannot be called: {shown} {why}")),
            "{said}"
        );
    }
}

#[actix_rt::test]
async fn a_server_without_tls_and_one_with_nothing_but_it_are_told_apart() {
    let plain = serve("HTTP/1.1 400 Bad Request\r\n\r\n").that_does_not_listen();
    let address = plain.address("/").replace("http:", "https:");
    let error = get(&address, &Trust::Anyone, PATIENT).await;
    assert_eq!(error.expect_err("no TLS"), CallError::NotTls);
    let papers = Papers::new();
    papers.self_signed("local", &[LOCAL]);
    let server = papers.server("local");
    let address = server.address("/").replace("https:", "http:");
    let error = get(&address, &Trust::System, PATIENT).await;
    let error = error.expect_err("TLS").to_string();
    assert!(error.starts_with("does not speak HTTP: "), "{error}");
}

#[actix_rt::test]
async fn half_an_answer_is_noticed_behind_tls_too() {
    let papers = Papers::new();
    papers.self_signed("local", &[LOCAL]);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = serve_tls(half, config(papers.directory.path(), "local"));
    let error = get(&server.address("/"), &Trust::Anyone, PATIENT).await;
    assert_eq!(error.expect_err("half"), CallError::Half);
    let address = format!("https://[::1]:{}/", 1);
    let error = get(&address, &Trust::Anyone, PATIENT).await;
    assert_eq!(error.expect_err("nobody"), CallError::Refused);
}
