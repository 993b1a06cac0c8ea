//! Logs over HTTP.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use actix_web::rt::time::{sleep, timeout};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client;
use super::world::{Setup, TOKEN, World};
use crate::http::Patience;

fn append(path: &Path, text: &[u8]) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.unwrap().write_all(text).unwrap();
}

fn follow(name: &str) -> String {
    client::request("GET", &format!("/api/logs/{name}?follow=1&tail=5"), &[], "")
}

#[actix_web::test]
async fn the_last_lines_are_shown_as_text() {
    let world = World::new().await;
    let lines: Vec<String> = (0..500).map(|n| format!("line {n}\n")).collect();
    append(&world.log("ours"), lines.concat().as_bytes());
    let answer = world.tcp("GET", "/api/logs/ours", &[TOKEN]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.body, lines[300..].concat());
    let answer = world.unix("GET", "/api/logs/ours?tail=2", &[]).await;
    assert_eq!(answer.body, "line 498\nline 499\n");
    let answer = world.unix("GET", "/api/logs/a", &[]).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    let answer = world.unix("GET", "/api/logs/none", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (404, "unknown_service"));
    let answer = world.unix("GET", "/api/logs/ours?tail=all", &[]).await;
    assert_eq!((answer.status, &*answer.code()), (400, "bad_query"));
}

#[actix_web::test]
async fn f13_nothing_that_a_terminal_would_obey_comes_out() {
    let world = World::new().await;
    append(
        &world.log("ours"),
        b"\x1b]0;owned\x07 nul\0 \xff\xfe \xc2\x9b31m\n",
    );
    let answer = world.unix("GET", "/api/logs/ours", &[]).await;
    assert_eq!(
        answer.body,
        "\\x1b]0;owned\\x07 nul\\x00 \u{fffd}\u{fffd} \\x9b31m\n"
    );
}

#[actix_web::test]
async fn f44_a_follower_goes_on_through_rotation_and_deletion() {
    let world = World::new().await;
    let log = world.log("ours");
    append(&log, b"old\n");
    let mut stream = client::unix(&world.socket()).await;
    stream.write_all(follow("ours").as_bytes()).await.unwrap();
    let head = client::read_until(&mut stream, "old\n").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    append(&log, b"before\n");
    client::read_until(&mut stream, "before\n").await;
    append(&log, b"last\n");
    fs::rename(&log, log.with_extension("log.1")).unwrap();
    append(&log, b"first\n");
    let through = client::read_until(&mut stream, "first\n").await;
    assert!(through.contains("last\n"), "{through}");
    fs::remove_file(&log).unwrap();
    sleep(Duration::from_millis(600)).await;
    append(&log, b"again\n");
    client::read_until(&mut stream, "again\n").await;
}

#[actix_web::test]
async fn a_stop_ends_followers_and_idle_connections_at_once() {
    let world = World::new().await;
    append(&world.log("ours"), b"old\n");
    let mut follower = client::unix(&world.socket()).await;
    follower.write_all(follow("ours").as_bytes()).await.unwrap();
    client::read_until(&mut follower, "old\n").await;
    let mut idle = client::tcp(world.address).await;
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    idle.write_all(request.as_bytes()).await.unwrap();
    client::read_until(&mut idle, "ok").await;
    let stopped = timeout(Duration::from_millis(1_500), world.servers.stop()).await;
    stopped.expect("a stop waits for streams");
    let mut rest = Vec::new();
    follower.read_to_end(&mut rest).await.unwrap();
    assert!(
        rest.ends_with(b"0\r\n\r\n"),
        "the stream did not end in order"
    );
}

#[actix_web::test]
async fn f69_followers_that_left_give_their_places_back() {
    let world = World::new().await;
    append(&world.log("ours"), b"old\n");
    // More than may follow at once, one after another, on a log that says nothing new.
    for _ in 0..70 {
        let mut stream = client::unix(&world.socket()).await;
        stream.write_all(follow("ours").as_bytes()).await.unwrap();
        let head = client::read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        drop(stream);
        sleep(Duration::from_millis(2)).await;
    }
}

#[actix_web::test]
async fn f69_a_follower_that_does_not_read_is_dropped() {
    let patience = Patience {
        read: Duration::from_millis(300),
        ..Patience::default()
    };
    let world = World::with(Setup {
        patience,
        ..Setup::default()
    })
    .await;
    let log = world.log("ours");
    append(&log, b"old\n");
    let mut stream = client::unix(&world.socket()).await;
    stream.write_all(follow("ours").as_bytes()).await.unwrap();
    client::read_until(&mut stream, "old\n").await;
    // More than all buffers on the way hold, and nobody reads.
    append(&log, &b"0123456789abcde\n".repeat(1024 * 1024));
    sleep(Duration::from_secs(3)).await;
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    let _ = end.expect("the connection is still open");
    assert!(
        rest.len() < 8 * 1024 * 1024,
        "{} bytes were kept",
        rest.len()
    );
}
