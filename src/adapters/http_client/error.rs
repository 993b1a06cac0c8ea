//! Why a call failed, in words that go on from the server's address: `127.0.0.1:80 refused the
//! connection`.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use actix_http::error::{ParseError, PayloadError};
use awc::error::{ConnectError, SendRequestError};
use humantime::format_duration;
use rustls::{CertificateError, Error as TlsError, InvalidMessage, OtherError};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// That cannot be called at all.
    #[error("cannot be called: {0}")]
    Address(String),
    /// Whom to trust cannot be found out: our side's fault.
    #[error("cannot be called: {0}")]
    Trust(String),
    /// We have no room for a connection now: our side's fault.
    #[error("could not be called: {0}")]
    NoRoom(String),
    /// Its name has no address.
    #[error("could not be resolved: {0}")]
    Unresolved(String),
    /// Nobody listens there.
    #[error("refused the connection")]
    Refused,
    /// No way leads there.
    #[error("could not be reached: {0}")]
    Unreachable(String),
    /// Neither a connection nor a refusal in time.
    #[error("could not be reached within {}", format_duration(*.0))]
    NotReached(Duration),
    /// It has shown a certificate that is not good.
    #[error("shows a certificate {0}")]
    Certificate(String),
    /// It answered the greeting of TLS by something else.
    #[error("does not speak TLS")]
    NotTls,
    /// TLS could not be agreed upon.
    #[error("failed the TLS handshake: {0}")]
    Tls(String),
    /// Connected, but not a word in time.
    #[error("did not answer within {}", format_duration(*.0))]
    Silent(Duration),
    /// It ended the connection before it answered.
    #[error("closed the connection without an answer")]
    Closed,
    /// The connection broke.
    #[error("broke the connection: {0}")]
    Broken(String),
    /// What it answered is no HTTP.
    #[error("does not speak HTTP: {0}")]
    NotHttp(String),
    /// It began to answer and did not come to an end in time.
    #[error("began to answer but did not finish within {}", format_duration(*.0))]
    Slow(Duration),
    /// The connection ended within the answer.
    #[error("broke off in the middle of its answer")]
    Half,
}

/// Where a call has failed: what follows from it depends on little else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the address: nobody can be called there, now or later.
    Address,
    /// On our side: there was no room for it.
    Here,
    /// On the way to the server, which was not asked anything.
    OnTheWay,
    /// Between the question and the answer: the server may have done what it was asked.
    Between,
    /// Within the answer.
    Answer,
}

impl CallError {
    /// Where the call has failed.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Address(_) => Place::Address,
            Self::NoRoom(_) => Place::Here,
            Self::Trust(_)
            | Self::Unresolved(_)
            | Self::Refused
            | Self::Unreachable(_)
            | Self::NotReached(_)
            | Self::Certificate(_)
            | Self::NotTls
            | Self::Tls(_) => Place::OnTheWay,
            Self::Silent(_) | Self::Closed | Self::Broken(_) => Place::Between,
            Self::NotHttp(_) | Self::Slow(_) | Self::Half => Place::Answer,
        }
    }
}

impl From<SendRequestError> for CallError {
    fn from(error: SendRequestError) -> Self {
        match error {
            SendRequestError::Url(error) => Self::Address(error.to_string()),
            SendRequestError::Connect(error) => of_connect(error),
            SendRequestError::Send(error) => of_io(&error),
            SendRequestError::Response(ParseError::Io(error)) => of_io(&error),
            SendRequestError::Response(ParseError::Incomplete) => Self::Half,
            SendRequestError::Response(error) => Self::NotHttp(error.to_string()),
            other => Self::Address(other.to_string()),
        }
    }
}

/// What went wrong while the body came.
pub(super) fn of_body(error: &PayloadError) -> CallError {
    match error {
        PayloadError::Incomplete(_) => CallError::Half,
        PayloadError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => CallError::Half,
        PayloadError::Io(error) => match of_io(error) {
            CallError::Closed => CallError::Half,
            other => other,
        },
        other => CallError::NotHttp(other.to_string()),
    }
}

fn of_connect(error: ConnectError) -> CallError {
    match error {
        ConnectError::Resolver(error) => CallError::Unresolved(error.to_string()),
        ConnectError::NoRecords => CallError::Unresolved("it has no address".to_owned()),
        ConnectError::Disconnected => CallError::Closed,
        ConnectError::Io(error) => of_io(&error),
        other => CallError::Address(other.to_string()),
    }
}

/// What an I/O error of connecting, of the handshake or of the exchange means.
pub(crate) fn of_io(error: &io::Error) -> CallError {
    use io::ErrorKind;
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    if let Some(tls) = tls {
        return of_tls(tls);
    }
    if let Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) =
        error.raw_os_error()
    {
        return CallError::NoRoom(plain(error));
    }
    match error.kind() {
        ErrorKind::ConnectionRefused => CallError::Refused,
        ErrorKind::UnexpectedEof | ErrorKind::WriteZero | ErrorKind::NotConnected => {
            CallError::Closed
        }
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            CallError::Broken(plain(error))
        }
        // What actix-codec says of bytes that are no whole message.
        ErrorKind::Other if error.to_string() == "bytes remaining on stream" => CallError::Half,
        // Of the name in an address, which TLS checks.
        ErrorKind::InvalidInput => CallError::Address(
            "https:// needs a host name that a certificate can bear, not an address in brackets"
                .to_owned(),
        ),
        _ => CallError::Unreachable(plain(error)),
    }
}

/// Without the number that std puts behind it.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

fn of_tls(error: &TlsError) -> CallError {
    match error {
        TlsError::InvalidCertificate(why) => CallError::Certificate(of_certificate(why)),
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => CallError::NotTls,
        other => CallError::Tls(other.to_string()),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("that expired {} ago", span(ago))
        }
        CertificateError::Expired => "that has expired".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => {
            let in_time = not_before.as_secs().saturating_sub(time.as_secs());
            format!("that becomes valid in {}", span(in_time))
        }
        CertificateError::NotValidYet => "that is not valid yet".to_owned(),
        CertificateError::UnknownIssuer => "that no trusted authority has signed".to_owned(),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let expected = expected.to_str();
            match presented.as_slice() {
                [] => format!("without a name (no subjectAltName), not for {expected}"),
                names => {
                    let names: Vec<&str> = names.iter().map(|name| bare(name)).take(5).collect();
                    format!("for {}, not for {expected}", names.join(", "))
                }
            }
        }
        CertificateError::NotValidForName => "for another name".to_owned(),
        CertificateError::Other(why) if is_self_signed(why) => {
            "that is self-signed and not trusted".to_owned()
        }
        other => format!("that is not good: {other}"),
    }
}

/// Whether a server's certificate calls itself an authority: what `openssl req -x509` makes.
pub(super) fn is_self_signed(error: &OtherError) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref());
    cause == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// A name as people write it: webpki says `DnsName("localhost")`.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

/// A span in its two largest units.
fn span(seconds: u64) -> String {
    let rounded = match seconds {
        0..3_600 => seconds,
        3_600..86_400 => seconds - seconds % 60,
        _ => seconds - seconds % 3_600,
    };
    format_duration(Duration::from_secs(rounded)).to_string()
}
