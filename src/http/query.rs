//! Query strings: known keys, once each.

use actix_web::web;

use super::problem::Problem;

/// What comes after the `?`, decoded.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads one. A key that is not known is an error: a misspelt one would be ignored.
    pub(super) fn parse(text: &str, known: &[&str]) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|error| Problem::bad("bad_query", format!("the query is wrong: {error}")))?
            .into_inner();
        for (n, (key, _)) in pairs.iter().enumerate() {
            if !known.contains(&key.as_str()) {
                return Err(Problem::bad(
                    "bad_query",
                    format!("{key:?} is not known here; use {}", known.join(", ")),
                ));
            }
            if pairs[..n].iter().any(|(other, _)| other == key) {
                return Err(Problem::bad("bad_query", format!("{key} comes twice")));
            }
        }
        Ok(Self(pairs))
    }

    /// A key's value.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == key)?;
        Some(&pair.1)
    }

    /// What to answer to a value that cannot be used.
    pub(super) fn wrong(key: &str, value: &str, right: &str) -> Problem {
        Problem::bad("bad_query", format!("{key}={value:?} is not {right}"))
    }
}
