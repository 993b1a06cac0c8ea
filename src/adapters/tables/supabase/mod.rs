//! The target `supabase`: PostgREST behind the gateway of a project.
//!
//! ```text
//!  upsert     POST   ?on_conflict=&columns=      200, 201 and as many rows as were sent
//!  rename     PATCH  ?key=eq.…                   one row, or none
//!  delete     DELETE ?key=in.(…)                 fewer than sent: are they still to be seen?
//!  tombstone  PATCH  ?key=in.(…)&deleted=is.null fewer than sent: which are there unmarked?
//!  keys       GET    ?select=&order=&limit=&key=gt.…
//! ```
//!
//! The key goes to the project's own address alone: redirects are not followed, and an answer
//! that is not PostgREST's is no success whatever its status. Everything may be done twice, so
//! that a request whose answer was lost is simply sent again.
//!
//! Source: PROTOCOLS 6.

pub(crate) mod project;
mod request;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use awc::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use awc::http::{Method, Uri};
use futures_util::future::FutureExt as _;
use serde_json::{Value, json};

use supervisor_actors::ports::Clock;
use supervisor_actors::ports::tables::{Held, Tables, Taken};
use supervisor_core::Timestamp;
use supervisor_core::sync::{Alone, ContentHash, Refusal, Row, Scope, Table, verdict};

use crate::adapters::http_client::{
    Answer, Bounds, CallError, HttpCalls, HttpClient, Place, Trust,
};
use project::Project;

/// What a mutation is asked to answer: nothing but how many rows it touched.
const COUNTED: &str = "return=minimal,count=exact";
/// The same of an upsert.
const MERGED: &str = "resolution=merge-duplicates,return=minimal,count=exact";

/// From the look-up of the name to the end of the answer, besides the time for the body.
const PATIENCE: Duration = Duration::from_secs(30);
/// The slowest upload that is worth waiting for.
const SLOWEST_BYTES_PER_SECOND: usize = 32 * 1024;
/// A request of so much that fails half-way may fail because it is so much: servers that refuse
/// it early close the connection, and lines that are slow or broken carry less.
const LARGE_BYTES: usize = 256 * 1024;
/// How much of an answer to a mutation is read: an error's object, or the head of a page.
const MOST_ERROR_BYTES: usize = 64 * 1024;
/// The largest page that is asked for: what a project gives at most unless it is told otherwise.
const MOST_PAGE_ROWS: u32 = 1_000;
/// More than a page of so many keys holds: PostgreSQL indexes keys up to 2,704 bytes.
const MOST_PAGE_BYTES: usize = 32 << 20;

/// A project as a target. It belongs to the thread that uses it first.
pub(crate) struct Supabase {
    project: Project,
    calls: HttpCalls,
    trust: Trust,
    clock: Arc<dyn Clock>,
    /// Made at the first request: only then are the authorities read.
    client: RefCell<Option<HttpClient>>,
    patience: Duration,
}

impl Supabase {
    /// A project, called with what all calls have in common. Nothing is sent.
    pub(crate) fn new(
        project: Project,
        calls: HttpCalls,
        trust: Trust,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            project,
            calls,
            trust,
            clock,
            client: RefCell::new(None),
            patience: PATIENCE,
        }
    }

    /// Sends a request; a failure to get an answer is worth another try.
    async fn ask(
        &self,
        method: Method,
        address: &str,
        prefer: Option<&'static str>,
        body: Vec<u8>,
        most_bytes: usize,
    ) -> Result<Answer, Refusal> {
        let uri: Uri = address.parse().map_err(|error| Refusal::Park {
            scope: Scope::Rows,
            why: format!("their keys make no address: {error}"),
        })?;
        let client = self.client(&uri).await?;
        let key = self.project.key();
        let mut request = client
            .request(method, &uri)
            .insert_header(("apikey", key.header()))
            .insert_header((ACCEPT, "application/json"));
        if let Some(bearer) = key.bearer() {
            request = request.insert_header((AUTHORIZATION, bearer));
        }
        if let Some(prefer) = prefer {
            request = request.insert_header(("Prefer", prefer));
        }
        if !body.is_empty() {
            request = request.insert_header((CONTENT_TYPE, "application/json"));
        }
        let upload = body.len() / SLOWEST_BYTES_PER_SECOND;
        let bounds = Bounds {
            timeout: self.patience + Duration::from_secs(number(upload)),
            body_bytes: most_bytes,
        };
        let large = body.len() > LARGE_BYTES;
        let answer = client.call(request, body, bounds).await;
        answer.map_err(|error| self.unanswered(&error, large))
    }

    async fn client(&self, like: &Uri) -> Result<HttpClient, Refusal> {
        if let Some(client) = &*self.client.borrow() {
            return Ok(client.clone());
        }
        let client = self.calls.client(like, &self.trust).await;
        let client = client.map_err(|error| self.unanswered(&error, false))?;
        *self.client.borrow_mut() = Some(client.clone());
        Ok(client)
    }

    fn unanswered(&self, error: &CallError, large: bool) -> Refusal {
        if matches!(error, CallError::Certificate(_)) {
            // Whoever is trusted is read anew: that may be what is being repaired.
            self.client.borrow_mut().take();
        }
        let why = format!("{} {error}", self.project.base());
        match error.place() {
            Place::Address => Refusal::Park {
                scope: Scope::Target,
                why,
            },
            Place::Between if large => Refusal::Smaller {
                alone: Alone::Retry,
                why,
            },
            Place::Here | Place::OnTheWay | Place::Between | Place::Answer => {
                Refusal::Retry { after: None, why }
            }
        }
    }

    /// What follows from an answer that is no success.
    fn refused(&self, answer: &Answer, table: &Table) -> Refusal {
        let text = |name| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let judged = verdict::Answer {
            status: answer.status.as_u16(),
            retry_after: text(RETRY_AFTER),
            body: &answer.body,
        };
        let scrub = |why| self.project.key().scrub(why);
        match verdict::refusal(judged, table, self.clock.wall()) {
            Refusal::Retry { after, why } => Refusal::Retry {
                after,
                why: scrub(why),
            },
            Refusal::Smaller { alone, why } => Refusal::Smaller {
                alone,
                why: scrub(why),
            },
            Refusal::Split { why } => Refusal::Split { why: scrub(why) },
            Refusal::Park { scope, why } => Refusal::Park {
                scope,
                why: scrub(why),
            },
        }
    }

    /// How many rows a mutation has touched, if it succeeded and it was PostgREST who says so.
    fn touched(&self, answer: &Answer, table: &Table) -> Result<u64, Refusal> {
        if !matches!(answer.status.as_u16(), 200 | 201 | 204) {
            return Err(self.refused(answer, table));
        }
        total(&answer.headers).ok_or_else(|| self.stranger(answer))
    }

    /// A success of somebody else: a login page of a hotel, a proxy.
    fn stranger(&self, answer: &Answer) -> Refusal {
        Refusal::Retry {
            after: None,
            why: format!(
                "{} answered {}, but not as PostgREST does",
                self.project.base(),
                answer.status.as_u16()
            ),
        }
    }

    /// A mutation of the rows under some keys, in as many requests as that takes: the keys of
    /// each, and how many rows it touched.
    async fn change<'a>(
        &self,
        method: Method,
        table: &Table,
        keys: &'a [String],
        filter: &str,
        body: &[u8],
    ) -> Result<Vec<(&'a [String], u64)>, Refusal> {
        let mut done = Vec::new();
        for (address, these) in request::some(self.project.base(), table, keys, filter) {
            let answer = self
                .ask(
                    method.clone(),
                    &address,
                    Some(COUNTED),
                    body.to_vec(),
                    MOST_ERROR_BYTES,
                )
                .await?;
            done.push((these, self.touched(&answer, table)?));
        }
        Ok(done)
    }

    /// Which rows are there under some keys, with this column of each.
    async fn look(
        &self,
        table: &Table,
        keys: &[String],
        column: &str,
    ) -> Result<Vec<Value>, Refusal> {
        let mut found = Vec::new();
        let select = format!("&select={column}");
        for (address, _) in request::some(self.project.base(), table, keys, &select) {
            found.extend(self.rows(&address, table).await?);
        }
        Ok(found)
    }

    /// The rows that a GET gives.
    async fn rows(&self, address: &str, table: &Table) -> Result<Vec<Value>, Refusal> {
        let answer = self
            .ask(Method::GET, address, None, Vec::new(), MOST_PAGE_BYTES)
            .await?;
        if !matches!(answer.status.as_u16(), 200 | 206) {
            return Err(self.refused(&answer, table));
        }
        match serde_json::from_slice(&answer.body) {
            Ok(rows) if answer.whole => Ok(rows),
            Ok(_) | Err(_) => Err(self.stranger(&answer)),
        }
    }

    async fn upsert_rows(&self, table: &Table, rows: &[Row]) -> Result<(), Refusal> {
        let body = request::rows(table, rows).map_err(|error| unwritable(&error))?;
        let address = request::upsert(self.project.base(), table);
        let answer = self
            .ask(Method::POST, &address, Some(MERGED), body, MOST_ERROR_BYTES)
            .await?;
        let taken = self.touched(&answer, table)?;
        if taken == number(rows.len()) {
            return Ok(());
        }
        Err(Refusal::Split {
            why: format!(
                "{} took {taken} of {} rows and said nothing about the others: a trigger or a rule of the table drops them",
                table.name(),
                rows.len()
            ),
        })
    }

    async fn rename_row(&self, table: &Table, from: &str, row: &Row) -> Result<bool, Refusal> {
        let body = request::row(table, row).map_err(|error| unwritable(&error))?;
        let address = request::one(self.project.base(), table, from);
        let answer = self
            .ask(
                Method::PATCH,
                &address,
                Some(COUNTED),
                body,
                MOST_ERROR_BYTES,
            )
            .await?;
        // Another row has the new key, or a value that must be unique: an upsert will tell.
        if answer.status.as_u16() == 409 {
            return Ok(false);
        }
        Ok(self.touched(&answer, table)? > 0)
    }

    async fn delete_rows(&self, table: &Table, keys: &[String]) -> Result<u64, Refusal> {
        let done = self.change(Method::DELETE, table, keys, "", &[]).await?;
        let (mut gone, mut left) = (0, 0);
        for (keys, count) in done {
            gone += count;
            if count < number(keys.len()) {
                left += self.look(table, keys, table.key()).await?.len();
            }
        }
        match left {
            0 => Ok(gone),
            left => Err(protected(left, "deleted")),
        }
    }

    async fn tombstone_rows(
        &self,
        table: &Table,
        keys: &[String],
        at: Timestamp,
    ) -> Result<u64, Refusal> {
        let Some(column) = table.tombstone_column() else {
            return Err(Refusal::Park {
                scope: Scope::Table,
                why: format!("{} has no column for when a row was deleted", table.name()),
            });
        };
        let unmarked = format!("&{column}=is.null");
        let body = json!({ column: at.rfc3339_micros() }).to_string();
        let done = self
            .change(Method::PATCH, table, keys, &unmarked, body.as_bytes())
            .await?;
        let (mut there, mut left) = (0, 0);
        for (keys, count) in done {
            if count == number(keys.len()) {
                there += count;
                continue;
            }
            // Not there, marked before, or protected.
            let rows = self.look(table, keys, column).await?;
            there += number(rows.len());
            left += rows.iter().filter(|row| row[column].is_null()).count();
        }
        match left {
            0 => Ok(there),
            left => Err(protected(left, "marked as deleted")),
        }
    }

    async fn page(
        &self,
        table: &Table,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Held>, Refusal> {
        let limit = limit.min(MOST_PAGE_ROWS);
        let address = request::page(self.project.base(), table, after, limit);
        let rows = self.rows(&address, table).await?;
        let hash = |row: &Value| {
            let column = table.hash_column()?;
            ContentHash::parse(row[column].as_str()?)
        };
        let held = rows.iter().filter_map(|row| {
            // Somebody else's row may have no key; it comes last.
            let key = row[table.key()].as_str()?;
            Some(Held {
                key: key.to_owned(),
                hash: hash(row),
            })
        });
        Ok(held.collect())
    }
}

impl Tables for Supabase {
    fn describe(&self) -> String {
        format!("supabase {}", self.project.base())
    }

    fn upsert<'a>(&'a self, table: &'a Table, rows: &'a [Row]) -> Taken<'a, ()> {
        self.upsert_rows(table, rows).boxed_local()
    }

    fn rename<'a>(&'a self, table: &'a Table, from: &'a str, row: &'a Row) -> Taken<'a, bool> {
        self.rename_row(table, from, row).boxed_local()
    }

    fn delete<'a>(&'a self, table: &'a Table, keys: &'a [String]) -> Taken<'a, u64> {
        self.delete_rows(table, keys).boxed_local()
    }

    fn tombstone<'a>(
        &'a self,
        table: &'a Table,
        keys: &'a [String],
        at: Timestamp,
    ) -> Taken<'a, u64> {
        self.tombstone_rows(table, keys, at).boxed_local()
    }

    fn keys<'a>(
        &'a self,
        table: &'a Table,
        after: Option<&'a str>,
        limit: u32,
    ) -> Taken<'a, Vec<Held>> {
        self.page(table, after, limit).boxed_local()
    }
}

/// The number behind the `/` of `Content-Range: 0-24/25` or `*/25`, which only PostgREST gives.
fn total(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get("content-range")?.to_str().ok()?;
    range.rsplit_once('/')?.1.parse().ok()
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn protected(rows: usize, how: &str) -> Refusal {
    Refusal::Park {
        scope: Scope::Rows,
        why: format!(
            "{rows} of the rows can be seen and not be {how}: row security protects them from this key"
        ),
    }
}

/// A value that is no JSON: none of ours, but then it is the row's fault.
fn unwritable(error: &serde_json::Error) -> Refusal {
    Refusal::Split {
        why: format!("the rows cannot be written as JSON: {error}"),
    }
}
