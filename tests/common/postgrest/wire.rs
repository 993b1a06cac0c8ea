//! Just enough HTTP/1.1 to pass messages on byte by byte.

use std::io::{self, BufRead, Read as _, Write};

/// More than any head that PostgREST takes.
const MOST_HEAD: u64 = 256 * 1024;

/// A request's or an answer's first line and headers.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) first: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.headers
            .retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// An answer's status.
    pub(super) fn status(&self) -> Option<u16> {
        self.first.split(' ').nth(1)?.parse().ok()
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.first);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        text.into_bytes()
    }
}

/// Reads a head; nothing where the connection ends before it begins.
pub(super) fn read_head(from: &mut impl BufRead) -> io::Result<Option<Head>> {
    let mut lines = from.take(MOST_HEAD);
    let mut line = || -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        lines.read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !bytes.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes.truncate(bytes.len() - 2);
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    };
    let Some(first) = line()? else {
        return Ok(None);
    };
    let mut headers = Vec::new();
    loop {
        let text = line()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if text.is_empty() {
            return Ok(Some(Head { first, headers }));
        }
        let (name, value) = text.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads the body that a head announces.
pub(super) fn read_body(head: &Head, from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let bodiless = head.first.starts_with("HTTP/") && matches!(head.status(), Some(204 | 304));
    if head
        .header("transfer-encoding")
        .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        return read_chunks(from);
    }
    let length = head
        .header("content-length")
        .and_then(|length| length.parse().ok())
        .filter(|_| !bodiless)
        .unwrap_or(0);
    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    Ok(body)
}

fn read_chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = line.split(';').next().unwrap_or("").trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let begin = body.len();
        body.resize(begin + size + 2, 0);
        from.read_exact(&mut body[begin..])?;
        body.truncate(begin + size);
        if size == 0 {
            return Ok(body);
        }
    }
}

/// Writes a message with a body of known length.
pub(super) fn write(mut head: Head, body: &[u8], to: &mut impl Write) -> io::Result<()> {
    head.headers
        .retain(|(name, _)| !name.eq_ignore_ascii_case("transfer-encoding"));
    if head.first.starts_with("HTTP/") && head.status() == Some(204) {
        head.headers
            .retain(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
    } else {
        head.set("Content-Length", &body.len().to_string());
    }
    // One write: a head and a body that go apart wait for each other (Nagle).
    to.write_all(&[head.bytes().as_slice(), body].concat())?;
    to.flush()
}
