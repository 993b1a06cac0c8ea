//! `sync verify` over fakes: which rows it finds wanting, and that it asks page by page.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::ready;
use supervisor_actors::ports::files::{Files, Found, Listing, Look, Survey, Take};
use supervisor_actors::ports::tables::{Held, Tables, Taken};
use supervisor_actors::verify::{Report, VerifyError, verify};
use supervisor_core::Timestamp;
use supervisor_core::sync::verify::Kind;
use supervisor_core::sync::{
    Content, ContentHash, Refusal, Routes, Row, Scope, Stat, Table, preset,
};

struct FakeFiles(BTreeMap<Arc<str>, Look>);

impl Files for FakeFiles {
    fn look(&self, file_paths: &[Arc<str>], at_once: usize, take: &mut Take<'_>) -> Duration {
        for some in file_paths.chunks(at_once) {
            let looks = some.iter().map(|path| self.0[path].clone()).collect();
            assert!(take(some, looks).is_continue());
        }
        Duration::ZERO
    }

    fn read(&self, _: &str) -> Result<(Vec<u8>, Content), Look> {
        Err(Look::Gone)
    }

    fn exists(&self, file_path: &str) -> bool {
        self.0.contains_key(file_path)
    }

    fn survey(&self, survey: &Survey<'_>) -> Found {
        let mut listing = Listing::new("", &Arc::from("docs"));
        for path in self.0.keys() {
            listing.push(path, Stat::default());
        }
        (survey.list)(listing);
        Found {
            unread: vec![("docs/closed".to_owned(), "permission denied".to_owned())],
            ..Found::default()
        }
    }

    fn roots(&self) -> Vec<Option<u64>> {
        Vec::new()
    }
}

/// Holds rows, gives two at a time, and takes nothing.
struct FakeTables {
    rows: BTreeMap<&'static str, Option<ContentHash>>,
    asked: RefCell<Vec<Option<String>>>,
    refusal: Option<Refusal>,
}

fn nothing<T>() -> Result<T, Refusal> {
    Err(Refusal::Park {
        scope: Scope::Target,
        why: "nothing may be written".to_owned(),
    })
}

impl Tables for FakeTables {
    fn describe(&self) -> String {
        "a fake".to_owned()
    }

    fn upsert<'a>(&'a self, _: &'a Table, _: &'a [Row]) -> Taken<'a, ()> {
        Box::pin(ready(nothing()))
    }

    fn rename<'a>(&'a self, _: &'a Table, _: &'a str, _: &'a Row) -> Taken<'a, bool> {
        Box::pin(ready(nothing()))
    }

    fn delete<'a>(&'a self, _: &'a Table, _: &'a [String]) -> Taken<'a, u64> {
        Box::pin(ready(nothing()))
    }

    fn tombstone<'a>(&'a self, _: &'a Table, _: &'a [String], _: Timestamp) -> Taken<'a, u64> {
        Box::pin(ready(nothing()))
    }

    fn keys<'a>(&'a self, _: &'a Table, after: Option<&'a str>, _: u32) -> Taken<'a, Vec<Held>> {
        self.asked.borrow_mut().push(after.map(str::to_owned));
        let page = self
            .rows
            .iter()
            .filter(|(key, _)| after.is_none_or(|after| **key > after))
            .take(2)
            .map(|(key, hash)| Held {
                key: (*key).to_owned(),
                hash: *hash,
            });
        let page = match &self.refusal {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(page.collect()),
        };
        Box::pin(ready(page))
    }
}

fn routes() -> Routes {
    let table = Arc::new(preset::plain("docs", false).expect("a table"));
    let extensions = ["md".to_owned()];
    let directories = vec![(PathBuf::from("/p/docs"), table)];
    Routes::new(Path::new("/p"), directories, &extensions, &[]).expect("routes")
}

const ONE: ContentHash = ContentHash([1; 32]);
const TWO: ContentHash = ContentHash([2; 32]);

fn here(hash: ContentHash) -> Look {
    Look::Here(Content {
        hash,
        stat: Stat::default(),
        settled: true,
    })
}

async fn run(tables: &FakeTables) -> Result<Report, VerifyError> {
    let files = [
        ("docs/a.md", here(ONE)),
        ("docs/b.md", here(ONE)),
        ("docs/c.md", here(ONE)),
        ("docs/d.md", Look::Gone),
        (
            "docs/e.md",
            Look::Unreadable {
                stat: Stat::default(),
                why: "too large".to_owned(),
            },
        ),
        ("docs/f.md", Look::Changing),
    ];
    let files = files.map(|(path, look)| (Arc::from(path), look));
    verify(Arc::new(FakeFiles(files.into())), tables, &routes()).await
}

#[actix_rt::test]
async fn every_path_is_compared_with_what_the_target_holds() {
    let tables = FakeTables {
        rows: [
            ("docs/a.md", Some(ONE)),
            ("docs/b.md", Some(TWO)),
            ("docs/closed/y.md", Some(ONE)),
            ("docs/e.md", Some(ONE)),
            ("docs/x.md", Some(ONE)),
        ]
        .into(),
        asked: RefCell::default(),
        refusal: None,
    };
    let report = run(&tables).await.expect("a report");
    let [docs] = report.tables.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(docs.verdict.same, 1);
    let told: Vec<_> = docs.verdict.differences.iter().collect();
    let told: Vec<_> = told.iter().map(|it| (it.name.as_str(), it.kind)).collect();
    assert_eq!(
        told,
        [
            ("docs/b.md", Kind::Different),
            ("docs/c.md", Kind::Missing),
            ("docs/x.md", Kind::Extra),
        ]
    );
    let unreadable: Vec<_> = report
        .unreadable
        .iter()
        .map(|(path, _)| path.as_str())
        .collect();
    assert_eq!(unreadable, ["docs/closed", "docs/e.md", "docs/f.md"]);
    let asked = tables.asked.borrow();
    let asked: Vec<_> = asked.iter().map(Option::as_deref).collect();
    assert_eq!(
        asked,
        [
            None,
            Some("docs/b.md"),
            Some("docs/e.md"),
            Some("docs/x.md")
        ]
    );
}

#[actix_rt::test]
async fn a_target_that_refuses_is_told_with_its_table() {
    let tables = FakeTables {
        rows: BTreeMap::new(),
        asked: RefCell::default(),
        refusal: Some(Refusal::Park {
            scope: Scope::Table,
            why: "there is no table docs".to_owned(),
        }),
    };
    let error = run(&tables).await.expect_err("an error");
    assert_eq!(error.to_string(), "the rows of docs cannot be read");
    let cause = std::error::Error::source(&error).expect("a cause");
    assert_eq!(cause.to_string(), "there is no table docs");
}
