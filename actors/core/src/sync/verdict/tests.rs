//! Every row of PROTOCOLS 6, with the words that PostgREST 12.0.2 and the edge really use.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::sync::table::{Column, Field};

const NOW: Timestamp = Timestamp(784_111_777_000_000);

fn docs() -> Table {
    let column = |name: &str, field| Column {
        name: name.to_owned(),
        field,
    };
    Table::new(
        "docs",
        "file_path",
        vec![
            column("file_path", Field::FilePath),
            column("title", Field::Title),
        ],
    )
    .unwrap()
}

fn told(status: u16, body: &str) -> Refusal {
    let answer = Answer {
        status,
        retry_after: None,
        body: body.as_bytes(),
    };
    refusal(answer, &docs(), NOW)
}

fn verdict(status: u16, body: &str) -> Verdict {
    match told(status, body) {
        Refusal::Retry { .. } => Verdict::Retry,
        Refusal::Smaller { alone, .. } => Verdict::Smaller(alone),
        Refusal::Split { .. } => Verdict::Split,
        Refusal::Park { scope, .. } => Verdict::Park(scope),
    }
}

fn coded(code: &str, message: &str) -> String {
    serde_json::json!({ "code": code, "details": "hidden", "hint": null, "message": message })
        .to_string()
}

const HTML: &str = "<html><head><title>Oh dear</title></head><body>hidden</body></html>";

#[test]
fn every_code_has_its_verdict_whatever_the_status() {
    use Verdict::{Park, Retry, Smaller, Split};
    let table = Park(Scope::Table);
    let target = Park(Scope::Target);
    for (status, code, expected) in [
        // The same key twice: 400, in newer versions 500. Never again as it is.
        (400, "21000", Split),
        (500, "21000", Split),
        (400, "PGRST102", Split),
        (400, "PGRST204", table),
        (404, "PGRST205", table),
        (404, "42P01", table),
        (400, "42703", table),
        (400, "42P10", table),
        (400, "23502", Split),
        (400, "23514", Split),
        (400, "22P02", Split),
        (400, "22P05", Split),
        (400, "22001", Split),
        (409, "23505", Split),
        (409, "23503", Split),
        (413, "54000", Split),
        (401, "42501", table),
        (403, "42501", table),
        (401, "PGRST301", target),
        (401, "PGRST302", target),
        (401, "PGRST303", target),
        (500, "PGRST300", target),
        (406, "PGRST106", target),
        (500, "57014", Smaller(Alone::Retry)),
        (500, "40P01", Retry),
        (500, "40001", Retry),
        (503, "PGRST000", Retry),
        (503, "PGRST001", Retry),
        (503, "PGRST002", Retry),
        (504, "PGRST003", Retry),
        (503, "53100", Retry),
        (503, "53300", Retry),
        (503, "08006", Retry),
        (500, "57P03", Retry),
        (500, "58030", Retry),
        (500, "55P03", Retry),
        (500, "26000", Retry),
        (400, "42P05", Retry),
        (500, "57P04", target),
        (405, "25006", target),
        (403, "28000", target),
        (403, "0LP01", target),
        (400, "42804", table),
        (500, "42P17", table),
        (400, "0A000", table),
        (500, "55000", table),
        (400, "PGRST100", table),
        // What a trigger says, and what nobody has heard of.
        (400, "P0001", Split),
        (500, "P0002", Split),
        (500, "XX000", Split),
        (500, "38000", Split),
        (400, "ZZ999", Split),
        (500, "PGRSTX00", Retry),
    ] {
        let body = coded(code, "words");
        assert_eq!(verdict(status, &body), expected, "{status} {code}");
        // A gateway that changes the status changes nothing.
        assert_eq!(verdict(599, &body), expected, "599 {code}");
        let why = told(status, &body).why().to_owned();
        assert!(why.contains(code) && !why.contains("hidden"), "{why}");
    }
}

#[test]
fn without_a_code_the_status_decides() {
    use Verdict::{Park, Retry, Smaller, Split};
    let target = Park(Scope::Target);
    for (status, body, expected) in [
        (200, HTML, Retry),
        (204, "", Retry),
        (301, "", target),
        (302, HTML, target),
        (308, "", target),
        (400, HTML, Split),
        // PostgREST 12 whose database has just gone.
        (
            400,
            r#"{"code":"","details":null,"hint":null,"message":""}"#,
            Retry,
        ),
        (401, r#"{"message":"No API key found in request"}"#, target),
        (401, r#"{"message":"Invalid API key"}"#, target),
        (402, r#"{"message":"Service restricted"}"#, target),
        (403, HTML, target),
        (404, "{}", Park(Scope::Table)),
        (404, HTML, target),
        (
            404,
            r#"{"message":"no Route matched with those values"}"#,
            target,
        ),
        (405, "", target),
        (408, "", Retry),
        (409, "", Split),
        (413, HTML, Smaller(Alone::Park)),
        (414, "", Smaller(Alone::Park)),
        (418, "", target),
        (429, "", Retry),
        (500, HTML, Retry),
        (501, "", target),
        (502, HTML, Retry),
        (
            503,
            r#"{"message":"failure to get a peer from the ring-balancer"}"#,
            Retry,
        ),
        (503, r#"{"message":"name resolution failed"}"#, Retry),
        (504, "", Retry),
        (520, HTML, Retry),
        (521, HTML, Retry),
        (522, HTML, Retry),
        (530, "error code: 1016", Retry),
        (540, "", target),
        (544, "", Retry),
        (999, "", target),
    ] {
        assert_eq!(verdict(status, body), expected, "{status} {body}");
    }
}

#[test]
fn every_status_and_body_gives_a_reason_with_the_status_in_it() {
    for status in 100..1000 {
        for body in ["", "{}", HTML, "\u{0}\u{1b}"] {
            let why = told(status, body).why().to_owned();
            assert!(why.contains(&status.to_string()), "{why}");
            assert!(!why.contains("hidden") && !why.contains('\n'), "{why}");
        }
    }
}

#[test]
fn f47_a_missing_table_column_or_key_is_said_with_what_helps() {
    for (status, body, words) in [
        (404, "{}".to_owned(), "there is no table docs"),
        (
            404,
            coded(
                "PGRST205",
                "Could not find the table 'public.docs' in the schema cache",
            ),
            "there is no table docs",
        ),
        (
            400,
            coded(
                "PGRST204",
                "Column 'title' of relation 'docs' does not exist",
            ),
            "docs lacks a column",
        ),
        (
            400,
            coded(
                "42P10",
                "there is no unique or exclusion constraint matching the ON CONFLICT specification",
            ),
            "docs has no unique key on file_path",
        ),
    ] {
        let why = told(status, &body).why().to_owned();
        assert!(why.starts_with(words), "{why}");
        assert!(why.contains("`supervisor sync schema`"), "{why}");
    }
}

#[test]
fn a_column_that_we_never_fill_is_the_tables_fault_not_the_rows() {
    let missing = |column: &str| {
        coded(
            "23502",
            &format!(
                "null value in column \"{column}\" of relation \"docs\" violates not-null constraint"
            ),
        )
    };
    assert_eq!(verdict(400, &missing("title")), Verdict::Split);
    let ours = told(400, &missing("owner_id"));
    assert!(
        matches!(&ours, Refusal::Park { scope: Scope::Table, why }
            if why.starts_with("docs needs a value in owner_id")),
        "{ours:?}"
    );
}

#[test]
fn f50_retry_after_is_heard_where_it_makes_sense() {
    let after = |status, body: &str, text| {
        let answer = Answer {
            status,
            retry_after: Some(text),
            body: body.as_bytes(),
        };
        match refusal(answer, &docs(), NOW) {
            Refusal::Retry { after, .. } => after,
            other => panic!("{other:?}"),
        }
    };
    let seconds = |n| Some(Duration::from_secs(n));
    assert_eq!(after(429, "", "30"), seconds(30));
    assert_eq!(
        after(503, HTML, "Sun, 06 Nov 1994 08:50:07 GMT"),
        seconds(30)
    );
    assert_eq!(after(429, "", "1000000000"), Some(retry_after::LONGEST));
    // PostgREST's own, while it looks for its database.
    assert_eq!(after(503, &coded("PGRST002", "no"), "0"), None);
    assert_eq!(after(429, "", "later"), None);
}

#[test]
fn a_transient_code_is_transient_whatever_its_message_says() {
    let plan = coded("0A000", "cached plan must not change result type");
    assert_eq!(verdict(400, &plan), Verdict::Retry);
}

proptest! {
    #[test]
    fn a_reason_is_one_line_and_holds_nothing_of_a_row(
        status in 0_u16..1_000,
        code in "[0-9A-Z]{5}",
        value in "[a-z\"'() ]{0,20}",
    ) {
        let secret = format!("{value}zqzqz");
        let body = serde_json::json!({
            "code": code,
            "details": format!("Failing row contains ({secret})."),
            "hint": secret,
            "message": format!("invalid input syntax for type integer: \"{secret}\""),
        });
        let why = told(status, &body.to_string()).why().to_owned();
        prop_assert!(!why.contains("zqz"), "{}", why);
        prop_assert!(!why.contains('\n'));
    }

    #[test]
    fn no_answer_is_too_much_for_it(
        status in any::<u16>(),
        retry in prop::option::of(".{0,30}"),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let answer = Answer { status, retry_after: retry.as_deref(), body: &body };
        prop_assert!(!refusal(answer, &docs(), NOW).why().is_empty());
    }
}
