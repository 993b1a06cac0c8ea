//! What follows from the answer of a PostgREST, or of whoever stands before it.
//!
//! The code in the body decides, where there is one; the status alone decides only about
//! answers of gateways and proxies, whose bodies may be HTML or empty. A 5xx is no reason to
//! try again: PostgREST answers 500 to a statement timeout and to a trigger's bug alike.
//!
//! ```text
//!  body ──▶ code? ──SQLSTATE──▶ by_sqlstate ─┐
//!            │  └───PGRST…────▶ by_postgrest ─┼─▶ Verdict + words ──▶ Refusal
//!            └─none─▶ status ─▶ by_status ────┘
//! ```
//!
//! Source: PROTOCOLS 6; PostgreSQL's appendix A (error codes); PostgREST's "Errors".

use super::refusal::{Alone, Refusal, Scope};
use super::retry_after;
use super::said::{Said, is_of_postgrest};
use super::table::{Table, is_name};
use crate::time::Timestamp;

/// An answer that is no success.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// Its status.
    pub status: u16,
    /// Its `Retry-After`.
    pub retry_after: Option<&'a str>,
    /// Its body, or the beginning of it.
    pub body: &'a [u8],
}

/// What to do, without its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Retry,
    Smaller(Alone),
    Split,
    Park(Scope),
}

/// What follows from it, for a request about this table.
#[must_use]
pub fn refusal(answer: Answer<'_>, table: &Table, now: Timestamp) -> Refusal {
    let said = Said::read(answer.body);
    let (verdict, words) = judge(answer.status, &said, table);
    let why = reason(answer.status, &said, &words);
    match verdict {
        Verdict::Retry => Refusal::Retry {
            after: answer
                .retry_after
                .and_then(|text| retry_after::parse(text, now)),
            why,
        },
        Verdict::Smaller(alone) => Refusal::Smaller { alone, why },
        Verdict::Split => Refusal::Split { why },
        Verdict::Park(scope) => Refusal::Park { scope, why },
    }
}

/// Our words, and behind them the server's: `there is no table docs (404 PGRST205: Could …)`.
fn reason(status: u16, said: &Said, words: &str) -> String {
    let mut why = format!("{words} ({status}");
    if let Some(code) = &said.code {
        why.push(' ');
        why.push_str(code);
    }
    if let Some(message) = &said.message {
        why.push_str(": ");
        why.push_str(message);
    }
    if let Some(hint) = &said.hint {
        why.push_str(". ");
        why.push_str(hint);
    }
    why.push(')');
    why
}

fn judge(status: u16, said: &Said, table: &Table) -> (Verdict, String) {
    match said.code.as_deref() {
        Some(code) if is_of_postgrest(code) => by_postgrest(code, table),
        Some(code) => by_sqlstate(code, said, table),
        // With the status 400, as if the rows were at fault.
        None if said.lost => (Verdict::Retry, "the database went away".to_owned()),
        None => by_status(status, said, table),
    }
}

/// The codes of PostgREST itself.
fn by_postgrest(code: &str, table: &Table) -> (Verdict, String) {
    let name = table.name();
    match code {
        "PGRST000" | "PGRST001" | "PGRST002" => {
            (Verdict::Retry, "the database cannot be reached".to_owned())
        }
        "PGRST003" => (
            Verdict::Retry,
            "all connections of the server to its database are in use".to_owned(),
        ),
        // A body that it could not read, or whose rows differ in their columns.
        "PGRST102" => (Verdict::Split, "the rows were not understood".to_owned()),
        "PGRST106" => (
            Verdict::Park(Scope::Target),
            "the server does not expose the schema".to_owned(),
        ),
        "PGRST204" => (Verdict::Park(Scope::Table), lacks_a_column(name)),
        "PGRST205" => (Verdict::Park(Scope::Table), is_missing(name)),
        "PGRST301" | "PGRST302" | "PGRST303" => {
            (Verdict::Park(Scope::Target), bad_key().to_owned())
        }
        _ => match &code[..6] {
            // The connection to the database; and the library's own failures.
            "PGRST0" | "PGRSTX" => (Verdict::Retry, "the server failed".to_owned()),
            "PGRST3" => (
                Verdict::Park(Scope::Target),
                "the server does not accept any key".to_owned(),
            ),
            _ => (
                Verdict::Park(Scope::Table),
                format!("the server does not take requests for {name}"),
            ),
        },
    }
}

/// PostgreSQL's codes: first those that differ from their class, then classes.
fn by_sqlstate(code: &str, said: &Said, table: &Table) -> (Verdict, String) {
    let name = table.name();
    let row = |what: &str| (Verdict::Split, format!("{name} does not take {what}"));
    match code {
        "40001" | "40P01" => (
            Verdict::Retry,
            "it collided with another transaction".to_owned(),
        ),
        "55P03" => (Verdict::Retry, format!("{name} is locked")),
        "57014" => (
            Verdict::Smaller(Alone::Retry),
            "it took longer than the server allows".to_owned(),
        ),
        // Of a pooler that lends the same connection to several.
        "26000" | "42P05" => (
            Verdict::Retry,
            "the server's connections were mixed up".to_owned(),
        ),
        "0A000" if says(said, "cached plan") => {
            (Verdict::Retry, format!("{name} has just been altered"))
        }
        "25006" => (
            Verdict::Park(Scope::Target),
            "the database is read-only (a full disk makes it so)".to_owned(),
        ),
        "21000" => row("two rows of this batch under one key"),
        "23502" => match foreign_column(said, table) {
            Some(column) => (
                Verdict::Park(Scope::Table),
                format!(
                    "{name} needs a value in {column}, which no document has: give it a default"
                ),
            ),
            None => row("a row without this value"),
        },
        "23503" => row("a row that refers to one that is not there"),
        "23505" => row("a row with a value that another one has"),
        "23514" | "23P01" => row("a row that its rules forbid"),
        "22P05" | "22021" => row("a row with a NUL character"),
        "54000" => row("a row with so long a key"),
        "42501" => (
            Verdict::Park(Scope::Table),
            format!("the key may not write to {name}: use the service role's, or add a policy"),
        ),
        "42703" => (Verdict::Park(Scope::Table), lacks_a_column(name)),
        "42P01" => (Verdict::Park(Scope::Table), is_missing(name)),
        "42P10" => (
            Verdict::Park(Scope::Table),
            format!(
                "{name} has no unique key on {}: `supervisor sync schema` prints the SQL for one",
                table.key()
            ),
        ),
        "57P04" => (
            Verdict::Park(Scope::Target),
            "the database is gone".to_owned(),
        ),
        _ => match &code[..2] {
            "08" | "57" => (Verdict::Retry, "the database cannot be reached".to_owned()),
            "40" => (
                Verdict::Retry,
                "the database rolled the transaction back".to_owned(),
            ),
            "53" => (
                Verdict::Retry,
                "the database lacks space, memory or connections".to_owned(),
            ),
            "58" => (
                Verdict::Retry,
                "the database's machine has failed".to_owned(),
            ),
            "0L" | "0P" | "28" => (Verdict::Park(Scope::Target), bad_key().to_owned()),
            "0A" | "3F" | "42" | "55" => (
                Verdict::Park(Scope::Table),
                format!("{name} cannot be written like this"),
            ),
            // Data, constraints, triggers, whatever comes: a row's fault or everybody's, which
            // halves will show.
            _ => row("this row"),
        },
    }
}

/// Whoever answers without a code is no PostgREST, or one that says no more than that.
fn by_status(status: u16, said: &Said, table: &Table) -> (Verdict, String) {
    let name = table.name();
    let target = |words: &str| (Verdict::Park(Scope::Target), words.to_owned());
    let again = |words: &str| (Verdict::Retry, words.to_owned());
    match status {
        0..300 => again("the answer is not PostgREST's"),
        300..400 => {
            target("it answers with a redirect, which the key must not follow: is the URL right?")
        }
        400 | 409 | 422 => (Verdict::Split, format!("{name} does not take this row")),
        401 => target(bad_key()),
        402 => target("the project is restricted: its quota is used up or a bill unpaid"),
        403 => target("the key, or this machine, is refused"),
        404 if said.nothing => (Verdict::Park(Scope::Table), is_missing(name)),
        404 => target("nothing is at this address: is the URL right?"),
        408 => again("the request did not arrive in time"),
        413 | 414 | 431 => (
            Verdict::Smaller(Alone::Park),
            "it is more than the server takes at once".to_owned(),
        ),
        425 => again("it came too early"),
        429 => again("too many requests"),
        400..500 => target("the server does not take such requests"),
        501 | 505 => target("the server does not know such requests"),
        540 => target("the project is paused: resume it in the dashboard"),
        500..600 => again("the server failed"),
        _ => target("the server answers with a status that does not exist"),
    }
}

fn bad_key() -> &'static str {
    "the key is not accepted: it is wrong, has expired or is of another project"
}

fn is_missing(table: &str) -> String {
    format!(
        "there is no table {table}, or the server has not noticed it: `supervisor sync schema` prints the SQL for it"
    )
}

fn lacks_a_column(table: &str) -> String {
    format!("{table} lacks a column: `supervisor sync schema` prints the SQL for it")
}

fn says(said: &Said, words: &str) -> bool {
    said.message
        .as_deref()
        .is_some_and(|text| text.contains(words))
}

/// The column that must not be null, where it is none of ours: then no row can help it.
fn foreign_column<'a>(said: &'a Said, table: &Table) -> Option<&'a str> {
    let (_, rest) = said.message.as_deref()?.split_once("column \"")?;
    let (column, _) = rest.split_once('"')?;
    let ours = table.columns().iter().any(|own| own.name == column);
    (!ours && is_name(column)).then_some(column)
}

#[cfg(test)]
mod tests;
