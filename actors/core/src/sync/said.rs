//! What a PostgREST, or whoever stands before it, says about a failure: its code, and as much
//! of its words as may be repeated.
//!
//! PostgreSQL echoes what rows hold: in its details always, in its message behind a quote. A
//! quote is kept only where a noun before it says that a name follows (`column "title"`) and
//! it looks like one; at any other the message ends. Details are never read.

use serde::Deserialize;

use super::table::is_name;

/// As much of a message as anybody reads.
const MOST_CHARS: usize = 200;

/// Nouns of PostgreSQL's and PostgREST's messages behind which a quoted name follows.
const NOUNS: [&str; 14] = [
    "column",
    "columns",
    "constraint",
    "database",
    "function",
    "index",
    "policy",
    "relation",
    "role",
    "schema",
    "sequence",
    "table",
    "the",
    "of",
];

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// An SQLSTATE (`23505`) or a code of PostgREST (`PGRST204`).
    pub code: Option<String>,
    /// Its message, redacted.
    pub message: Option<String>,
    /// A hint that names only tables and columns, redacted as well.
    pub hint: Option<String>,
    /// An object without a word: what PostgREST 12 answers about a table that it does not know.
    pub nothing: bool,
    /// An empty code: PostgREST's connection to the database broke under the request.
    pub lost: bool,
}

/// The object that PostgREST answers with; gateways give a message alone.
#[derive(Deserialize)]
struct Object {
    code: Option<serde_json::Value>,
    message: Option<serde_json::Value>,
    msg: Option<serde_json::Value>,
    hint: Option<serde_json::Value>,
}

impl Said {
    /// Reads a body, which may be HTML, empty or cut short.
    #[must_use]
    pub fn read(body: &[u8]) -> Self {
        let Ok(object) = serde_json::from_slice::<Object>(body) else {
            return Self {
                code: code_at_the_beginning(body),
                message: title(body),
                ..Self::default()
            };
        };
        let text = |value: Option<serde_json::Value>| match value {
            Some(serde_json::Value::String(text)) => Some(text),
            _ => None,
        };
        let code = text(object.code);
        let lost = code.as_deref() == Some("");
        let code = code.filter(|code| is_code(code));
        // Only PostgREST's own hints: a trigger's may say anything.
        let hint = text(object.hint).filter(|_| code.as_deref().is_some_and(is_of_postgrest));
        // What a trigger or function raises (P0…) is its author's, and may hold a whole row.
        let free = code.as_deref().is_some_and(|code| code.starts_with("P0"));
        let message = text(object.message)
            .or_else(|| text(object.msg))
            .filter(|_| !free);
        Self {
            code,
            nothing: body.trim_ascii() == b"{}",
            lost,
            message: message.as_deref().and_then(redact),
            hint: hint.as_deref().and_then(redact),
        }
    }
}

/// Whether it is an SQLSTATE or a code of PostgREST.
fn is_code(text: &str) -> bool {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    plain && (text.len() == 5 || is_of_postgrest(text))
}

pub(super) fn is_of_postgrest(code: &str) -> bool {
    code.len() == 8 && code.starts_with("PGRST")
}

/// The code of an object that was cut short: PostgREST writes it first.
fn code_at_the_beginning(body: &[u8]) -> Option<String> {
    let rest = body.strip_prefix(br#"{"code":""#)?;
    let end = rest.iter().take(9).position(|byte| *byte == b'"')?;
    let code = std::str::from_utf8(&rest[..end]).ok()?;
    is_code(code).then(|| code.to_owned())
}

/// A page's title: all that is worth repeating of HTML.
fn title(body: &[u8]) -> Option<String> {
    let begin = &body[..body.len().min(16 * 1024)];
    let text = String::from_utf8_lossy(begin);
    let lower = text.to_ascii_lowercase();
    let from = lower.find("<title>")? + "<title>".len();
    let to = from + lower[from..].find('<')?;
    redact(&text[from..to])
}

/// One line without what rows may hold; nothing where nothing is left.
#[must_use]
pub fn redact(text: &str) -> Option<String> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(is_quote) {
        let (before, behind) = rest.split_at(at);
        kept.push_str(before);
        match quoted_name(&kept, behind) {
            Some((name, left)) => {
                kept.push_str(name);
                rest = left;
            }
            None if is_apostrophe(&kept, behind) => {
                kept.push('\'');
                rest = &behind[1..];
            }
            // Where the quoted ends, nobody can tell: it may hold quotes itself.
            None => {
                kept.push('…');
                rest = "";
            }
        }
    }
    kept.push_str(rest);
    let line: Vec<&str> = kept
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let mut line = line.join(" ");
    if let Some((cut, _)) = line.char_indices().nth(MOST_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    (!line.is_empty() && line != "…").then_some(line)
}

/// Quotes of PostgreSQL in English, and in its translations.
fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '«' | '»' | '„' | '“' | '”' | '「')
}

/// `"name"` at the beginning of `behind`, with its quotes, where `before` says that one comes.
fn quoted_name<'a>(before: &str, behind: &'a str) -> Option<(&'a str, &'a str)> {
    let noun = before.split_ascii_whitespace().next_back()?;
    let spoken = before.ends_with(' ') && NOUNS.contains(&noun.trim_start_matches('('));
    let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let end = 1 + behind[1..].find(quote)?;
    let (quoted, left) = behind.split_at(end + 1);
    let name = &quoted[1..end];
    // `public.protocols` is a name, too.
    let fits = name.splitn(2, '.').all(is_name);
    (spoken && fits).then_some((quoted, left))
}

/// `doesn't`: a letter on both sides, and no value can begin there.
fn is_apostrophe(before: &str, behind: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic());
    behind.starts_with('\'')
        && letter(before.chars().next_back())
        && letter(behind[1..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn said(body: &str) -> Said {
        Said::read(body.as_bytes())
    }

    #[test]
    fn a_code_and_the_names_in_its_message_are_kept() {
        for (message, kept) in [
            (
                r#"null value in column "title" of relation "docs" violates not-null constraint"#,
                r#"null value in column "title" of relation "docs" violates not-null constraint"#,
            ),
            (
                r#"duplicate key value violates unique constraint "docs_pkey""#,
                r#"duplicate key value violates unique constraint "docs_pkey""#,
            ),
            (
                "Could not find the 'x' column of 'docs' in the schema cache",
                "Could not find the 'x' column of 'docs' in the schema cache",
            ),
            (
                "Could not find the table 'public.docs' in the schema cache",
                "Could not find the table 'public.docs' in the schema cache",
            ),
            ("it doesn't work", "it doesn't work"),
        ] {
            assert_eq!(redact(message).as_deref(), Some(kept));
        }
    }

    #[test]
    fn what_a_row_holds_is_never_repeated() {
        for (message, kept) in [
            (
                r#"invalid input syntax for type integer: "hidden" and "hidden""#,
                "invalid input syntax for type integer: …",
            ),
            (
                r#"date/time field value out of range: "hidden""#,
                "date/time field value out of range: …",
            ),
            (
                r#"new row for column "hidden text that is no name""#,
                "new row for column …",
            ),
            (
                r#"malformed array literal: "column "hidden""#,
                "malformed array literal: …",
            ),
            (
                "ungültige Eingabesyntax: »hidden«",
                "ungültige Eingabesyntax: …",
            ),
            ("valor: «hidden»", "valor: …"),
        ] {
            let redacted = redact(message).unwrap();
            assert_eq!(redacted, kept);
            assert!(!redacted.contains("hidden"));
        }
        let body = r#"{"code":"23502","details":"Failing row contains (hidden).","hint":"hidden","message":"null value"}"#;
        let said = said(body);
        assert_eq!(said.code.as_deref(), Some("23502"));
        assert!(!format!("{said:?}").contains("hidden"));
    }

    #[test]
    fn what_a_trigger_raises_is_not_repeated_at_all() {
        let said =
            said(r#"{"code":"P0001","details":"hidden","hint":"hidden","message":"hidden"}"#);
        assert_eq!(said.code.as_deref(), Some("P0001"));
        assert_eq!(said.message, None);
        assert_eq!(said.hint, None);
    }

    #[test]
    fn a_hint_of_postgrest_is_kept() {
        let said = said(
            r#"{"code":"PGRST205","hint":"Perhaps you meant the table 'public.docs'","message":"m"}"#,
        );
        assert_eq!(
            said.hint.as_deref(),
            Some("Perhaps you meant the table 'public.docs'")
        );
    }

    #[test]
    fn bodies_that_are_no_objects_of_postgrest_say_what_they_can() {
        assert_eq!(said(""), Said::default());
        assert!(said("{}").nothing && !said("[1]").nothing);
        assert_eq!(said("[1]"), Said::default());
        assert_eq!(said(r#"{"code":402,"message":null}"#), Said::default());
        assert_eq!(said(r#"{"code":"invalid_jwt"}"#).code, None);
        let kong = said(r#"{"message":"failure to get a peer from the ring-balancer"}"#);
        assert_eq!(
            kong.message.as_deref(),
            Some("failure to get a peer from the ring-balancer")
        );
        let page = said("<!DOCTYPE html><html><head><TITLE>x.co | 520:\n Web server</TITLE>");
        assert_eq!(page.message.as_deref(), Some("x.co | 520: Web server"));
        assert_eq!(said("<html><title>never ends"), Said::default());
        assert_eq!(Said::read(&[0xff, 0xfe, 0]), Said::default());
    }

    #[test]
    fn a_code_is_found_in_an_object_that_was_cut_short() {
        let cut = said(r#"{"code":"22P02","details":null,"message":"invalid: \"hidden"#);
        assert_eq!(cut.code.as_deref(), Some("22P02"));
        assert_eq!(cut.message, None);
        assert_eq!(
            said(r#"{"code":"PGRST204","#).code.as_deref(),
            Some("PGRST204")
        );
        assert_eq!(said(r#"{"code":"22"#).code, None);
        assert_eq!(said(r#"{"code":"a very long one","#).code, None);
    }

    #[test]
    fn a_long_message_is_cut_and_stays_on_one_line() {
        let long = "é\n".repeat(1_000);
        let line = redact(&long).unwrap();
        assert_eq!(line.chars().count(), MOST_CHARS + 1);
        assert!(!line.contains('\n'));
        assert_eq!(redact(" \u{1b}[31m ").as_deref(), Some("[31m"));
    }

    proptest! {
        #[test]
        fn no_body_is_too_much_for_it(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Said::read(&body);
        }

        #[test]
        fn what_follows_a_value_is_gone(value in "[a-z \"'«»(),:=]{0,60}") {
            let message = format!("invalid input syntax for type integer: \"{value}zqzqz\"");
            prop_assert!(!redact(&message).unwrap().contains("zqz"));
        }
    }
}
