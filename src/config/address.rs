//! Addresses to call: `POST http://host/path`.

use actix_web::http::{Method, Uri};

use super::value::Value;

/// The methods that make sense for a call without a body.
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// A method and an `http://` or `https://` URL, or said; without a method it is `usual`.
pub(crate) fn call(value: &Value<'_>, usual: &str, example: &str) -> Option<(String, String)> {
    let help = format!("a method and a URL: {example}");
    let text = value.need_some_text(example)?;
    let mut words = text.split_whitespace();
    let (method, url) = match (words.next(), words.next(), words.next()) {
        (Some(url), None, None) => (usual, url),
        (Some(method), Some(url), None) => (method, url),
        _ => return value.wrong("is no call", help),
    };
    if !Method::from_bytes(method.as_bytes()).is_ok_and(|m| METHODS.contains(&m.as_str())) {
        let problem = format!("has an unknown method, {method:?}");
        return value.wrong(problem, format!("one of {}", METHODS.join(", ")));
    }
    let uri = match url.parse::<Uri>() {
        Ok(uri) => uri,
        Err(error) => return value.wrong(format!("is no URL: {error}"), help),
    };
    let https = uri.scheme_str() == Some("https");
    let Some(host) = uri.host().filter(|host| !host.is_empty()) else {
        return value.wrong("is no http:// or https:// URL with a host", help);
    };
    if !https && uri.scheme_str() != Some("http") {
        return value.wrong("is no http:// or https:// URL with a host", help);
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return value.wrong(
            "holds a user's name, which would not be sent",
            "a header says who asks: headers = { Authorization = \"Basic …\" }",
        );
    }
    if uri.port_u16() == Some(0) {
        return value.wrong("has the port 0, where nobody listens", help);
    }
    if https && host.starts_with('[') {
        return value.wrong(
            "has an IPv6 address, which TLS cannot check",
            "give it a host name, or an IPv4 address",
        );
    }
    Some((method.to_owned(), url.to_owned()))
}
