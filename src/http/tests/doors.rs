//! Opening and closing.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use actix_web::rt::time::sleep;

use super::world::{Setup, World};

#[actix_web::test]
async fn a_taken_port_is_said_with_its_holder_and_tried_again_until_it_is_free() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let world = World::unbound(Setup {
        listen: taken.to_string(),
        ..Setup::default()
    })
    .await;
    assert_eq!(world.servers.address(), None);
    // Everything else goes on.
    let answer = world.unix("POST", "/api/pulse/a", &[]).await;
    assert_eq!(answer.status, 202);
    let me = format!("already held by pid {}", std::process::id());
    for _ in 0..500 {
        if !world.stage.log.with(&me).is_empty() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    let lines = world.stage.log.with(&me);
    assert_eq!(lines.len(), 1, "{:?}", world.stage.log.all());
    drop(holder);
    for _ in 0..1_000 {
        if world.servers.address().is_some() {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(world.servers.address(), Some(taken));
    let answer = world.tcp("POST", "/api/pulse/a", &[]).await;
    assert_eq!(answer.status, 202);
}

#[actix_web::test]
async fn the_socket_is_private() {
    let world = World::new().await;
    let there = std::fs::metadata(world.socket()).unwrap();
    assert_eq!(there.permissions().mode() & 0o777, 0o600);
}

#[actix_web::test]
async fn on_ipv6_loopback_a_client_is_as_local_as_on_ipv4() {
    let world = World::with(Setup {
        listen: "[::1]:0".to_owned(),
        ..Setup::default()
    })
    .await;
    let stream = super::client::tcp(world.address).await;
    let host = format!("Host: {}", world.address);
    let pulse = super::client::request("POST", "/api/pulse/a", &[&host], "");
    let answer = super::client::exchange(stream, pulse.as_bytes()).await;
    assert_eq!(answer.status, 202);
}
