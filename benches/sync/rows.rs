//! Rows into a real PostgREST: all of `--once` beside one row a request, and beside a bare
//! client that has nothing to read, to record or to confirm.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use super::postgrest::{SERVICE_KEY, Stack};
use super::support::{PROGRAM, head, median, row};
use super::{ROUNDS, Took, configure, once, project};

/// So many documents are sent at most, and so many one by one.
const MOST: usize = 20_000;
const FEW: usize = 5_000;
const SINGLES: usize = 400;
/// What a bare client sends: so many batches of a hundred rows on each of four connections.
const BATCHES: usize = 50;
const LINES: usize = 4;
const BATCH: usize = 100;

pub(super) fn run() {
    let stack = Stack::start();
    let url = stack.url();
    let env = [
        ("SUPABASE_URL", url.as_str()),
        ("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY),
    ];
    let trees: Vec<(usize, tempfile::TempDir)> = [1, FEW, MOST]
        .into_iter()
        .map(|documents| {
            let dir = tempfile::tempdir().expect("a directory");
            project(dir.path(), documents, (documents / 100).max(1), 2_000);
            configure(dir.path(), "target = \"supabase\"");
            (documents, dir)
        })
        .collect();
    let schema = Command::new(PROGRAM)
        .args(["sync", "schema", "--config"])
        .arg(trees[0].1.path().join("supervisor.toml"))
        .output()
        .expect("the program");
    stack.schema(&String::from_utf8_lossy(&schema.stdout));
    let (mut singles, mut bares) = (Vec::new(), Vec::new());
    let mut ours: Vec<Vec<(f64, f64, Took)>> = trees.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        stack.sql("truncate docs");
        let single = one_by_one(&url);
        stack.sql("truncate docs");
        let bare = bare(&url);
        singles.push(single);
        bares.push(bare);
        for ((documents, dir), ours) in trees.iter().zip(&mut ours) {
            stack.sql("truncate docs");
            stack.gateway().take_seen();
            let _ = fs::remove_dir_all(dir.path().join("data"));
            let took = once(dir.path(), &env);
            assert_eq!(
                stack.sql("select count(*) from docs"),
                documents.to_string()
            );
            ours.push((count(*documents) / took.all, single, took));
        }
    }
    head(
        "rows of 2 kB into PostgREST (goal: 20 × one row a request)",
        &[
            "what",
            "rows/s (median of 5)",
            "of the yardstick (median of pairs)",
        ],
    );
    let mut ratios: Vec<f64> = bares
        .iter()
        .zip(&singles)
        .map(|(bare, one)| bare / one)
        .collect();
    let shown = |rate: f64| format!("{rate:.0}");
    let times = |ratio: f64| format!("{ratio:.1} ×");
    row(&[
        "one row a request, one connection (yardstick)",
        &shown(median(&mut singles)),
        "1",
    ]);
    row(&[
        "a bare client: the same batch of 100 rows on 4 connections",
        &shown(median(&mut bares)),
        &times(median(&mut ratios)),
    ]);
    for ((documents, _), all) in trees.iter().zip(&ours).skip(1) {
        let mut rates: Vec<f64> = all.iter().map(|(rate, ..)| *rate).collect();
        let mut ratios: Vec<f64> = all.iter().map(|(rate, one, _)| rate / one).collect();
        row(&[
            &format!("all of `--once`, {documents} documents"),
            &shown(median(&mut rates)),
            &times(median(&mut ratios)),
        ]);
    }
    let mut fixed: Vec<f64> = ours[0].iter().map(|(.., took)| took.all * 1e3).collect();
    row(&[
        "what a `--once` costs beside its rows (of one document)",
        &format!("{:.0} ms", median(&mut fixed)),
        "",
    ]);
    for ((documents, _), all) in trees.iter().zip(&ours).skip(1) {
        parts(*documents, all.iter().map(|(.., took)| took));
    }
}

/// Where the time of a `--once` goes, as its log tells.
fn parts<'a>(documents: usize, all: impl Iterator<Item = &'a Took> + Clone) {
    head(
        &format!("{documents} documents: when, since the process was started"),
        &["what", "median of 5"],
    );
    let lines = [
        ("it has read its configuration", "LIVE SYNC MODE"),
        ("the first rows go", "Syncing: "),
        ("the first rows are confirmed", "Synced: "),
        (
            "all is looked at, hashed and on record",
            "everything was looked at",
        ),
        ("the last row is confirmed", "Scan complete"),
    ];
    for (what, word) in lines {
        let mut times: Vec<f64> = all
            .clone()
            .filter_map(|took| {
                let line = took.log.lines().find(|line| line.contains(word))?;
                Some(since(took.began, line)? * 1e3)
            })
            .collect();
        if !times.is_empty() {
            row(&[what, &format!("{:.0} ms", median(&mut times))]);
        }
    }
    let mut ends: Vec<f64> = all.map(|took| took.all * 1e3).collect();
    row(&[
        "the process has ended",
        &format!("{:.0} ms", median(&mut ends)),
    ]);
}

/// Seconds from then to a line of the log.
fn since(began: SystemTime, line: &str) -> Option<f64> {
    let word = line.split(' ').next()?;
    let at: jiff::Timestamp = word.parse().ok()?;
    let began = began.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let at = Duration::from_millis(u64::try_from(at.as_millisecond()).ok()?);
    Some(at.as_secs_f64() - began.as_secs_f64())
}

fn count(of: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = of as f64;
    count
}

/// Rows a second, one request each, on one connection that is kept.
fn one_by_one(url: &str) -> f64 {
    let mut line = Line::to(url);
    let began = Instant::now();
    for n in 0..SINGLES {
        line.post(&format!("[{}]", document(n)));
    }
    count(SINGLES) / began.elapsed().as_secs_f64()
}

/// Rows a second, a hundred a request, on four connections: what this server takes.
fn bare(url: &str) -> f64 {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for lane in 0..LINES {
            scope.spawn(move || {
                let mut line = Line::to(url);
                for batch in 0..BATCHES {
                    let first = (lane * BATCHES + batch) * BATCH;
                    let rows: Vec<String> = (first..first + BATCH).map(document).collect();
                    line.post(&format!("[{}]", rows.join(",")));
                }
            });
        }
    });
    count(LINES * BATCHES * BATCH) / began.elapsed().as_secs_f64()
}

/// The row of a document, as JSON, with all columns that ours has.
fn document(n: usize) -> String {
    let content = "a line of the document that says something\\n".repeat(46);
    format!(
        "{{\"file_path\":\"docs/{n:06}.md\",\"title\":\"Document {n}\",\"content\":\"{content}\",\
         \"content_hash\":\"{n:064x}\",\"metadata\":{{\"title\":\"Document {n}\"}},\
         \"updated_at\":\"2026-01-01T00:00:00Z\"}}"
    )
}

/// A connection that is kept.
struct Line {
    address: String,
    stream: TcpStream,
    answers: BufReader<TcpStream>,
}

impl Line {
    fn to(url: &str) -> Self {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let stream = TcpStream::connect(address).expect("the gateway");
        stream.set_nodelay(true).expect("nodelay");
        Self {
            address: address.to_owned(),
            answers: BufReader::new(stream.try_clone().expect("a stream")),
            stream,
        }
    }

    fn post(&mut self, body: &str) {
        let request = format!(
            "POST /rest/v1/docs?on_conflict=file_path&columns=file_path,title,content,content_hash,metadata,updated_at HTTP/1.1\r\n\
             Host: {}\r\napikey: {SERVICE_KEY}\r\nAuthorization: Bearer {SERVICE_KEY}\r\n\
             Content-Type: application/json\r\nPrefer: resolution=merge-duplicates,return=minimal\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        self.stream
            .write_all(request.as_bytes())
            .expect("a request");
        let mut length = 0;
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        assert!(line.contains(" 201 ") || line.contains(" 200 "), "{line}");
        loop {
            line.clear();
            self.answers.read_line(&mut line).expect("a header");
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.answers.read_exact(&mut body).expect("a body");
    }
}
