//! `logs`: what a service wrote, safe for a terminal.

use std::time::Duration;

use super::Context;
use super::args::LogsArgs;
use super::client::Call;
use super::escape::{StreamEscaper, escape_json};
use super::exit::{CliError, Exit};
use super::output::{broken_pipe, put_bytes, reader_is_gone};

/// How often a silent stream looks whether anybody still reads us.
const LOOK_ROUND: Duration = Duration::from_secs(1);
/// How long a log that is not followed may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries out `logs`.
pub(super) async fn run(context: &Context, args: &LogsArgs) -> Result<Exit, CliError> {
    let follow = if args.follow { "&follow=1" } else { "" };
    let path = format!("/api/logs/{}?tail={}{follow}", args.name, args.lines);
    let mut chunks = context.client.stream(Call::get(path)).await?;
    let mut form = Form::new(context, args);
    let mut silent = Duration::ZERO;
    loop {
        // Dropping `next` loses nothing: see there.
        match tokio::time::timeout(LOOK_ROUND, chunks.next()).await {
            Ok(Ok(Some(bytes))) => {
                silent = Duration::ZERO;
                put_bytes(&form.feed(&bytes))?;
            }
            Ok(Ok(None)) => {
                put_bytes(&form.finish())?;
                return Ok(Exit::Fine);
            }
            Ok(Err(error)) => {
                put_bytes(&form.finish())?;
                return Err(error.into());
            }
            Err(_) if reader_is_gone() => return Err(broken_pipe().into()),
            Err(_) => {
                silent += LOOK_ROUND;
                if !args.follow && silent >= PATIENCE {
                    return Err(chunks.silent(PATIENCE).into());
                }
            }
        }
    }
}

/// What becomes of the bytes.
enum Form {
    /// Text that no terminal obeys.
    Text(StreamEscaper),
    /// An object a line.
    Json {
        /// Whose log.
        service: String,
        /// A line that has not ended.
        line: Vec<u8>,
    },
}

impl Form {
    fn new(context: &Context, args: &LogsArgs) -> Self {
        if context.look.json {
            Self::Json {
                service: args.name.to_string(),
                line: Vec::new(),
            }
        } else {
            Self::Text(StreamEscaper::default())
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Text(escaper) => escaper.feed(bytes).into_bytes(),
            Self::Json { service, line } => {
                let mut out = String::new();
                for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                    line.extend_from_slice(part);
                    if line.ends_with(b"\n") || line.len() >= LONGEST_LINE {
                        out.push_str(&object(service, &std::mem::take(line)));
                    }
                }
                out.into_bytes()
            }
        }
    }

    fn finish(&mut self) -> Vec<u8> {
        match self {
            Self::Text(escaper) => escaper.finish().into_bytes(),
            Self::Json { line, .. } if line.is_empty() => Vec::new(),
            Self::Json { service, line } => object(service, &std::mem::take(line)).into_bytes(),
        }
    }
}

/// A line longer than this is shown in pieces, so that memory stays flat.
const LONGEST_LINE: usize = 64 * 1024;

/// A line (or a piece of one) as an object; bytes that are no text become U+FFFD.
fn object(service: &str, line: &[u8]) -> String {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let object = serde_json::json!({ "service": service, "line": String::from_utf8_lossy(line) });
    format!("{}\n", escape_json(&object.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_cut_in_pieces_are_one_object_each() {
        let mut form = Form::Json {
            service: "a".to_owned(),
            line: Vec::new(),
        };
        let mut out = Vec::new();
        for piece in [&b"one\r\ntw"[..], b"o\x1b[0m\nthr", b"ee \xff"] {
            out.extend(form.feed(piece));
        }
        out.extend(form.finish());
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"line\":\"one\",\"service\":\"a\"}\n\
             {\"line\":\"two\\u001b[0m\",\"service\":\"a\"}\n\
             {\"line\":\"three \u{fffd}\",\"service\":\"a\"}\n"
        );
    }

    #[test]
    fn a_line_without_an_end_does_not_pile_up() {
        let mut form = Form::Json {
            service: "a".to_owned(),
            line: Vec::new(),
        };
        let out: Vec<u8> = (0..100).flat_map(|_| form.feed(&[b'x'; 4096])).collect();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 6);
    }
}
