//! Alerts that are being raised and delivered while the supervisor is killed.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::World;
use crate::common::wait::wait_within;

/// Chance, the same in each run as far as the machine lets it be.
#[derive(Clone)]
struct Dice(Arc<AtomicU64>);

impl Dice {
    fn throw(&self, limit: u64) -> u64 {
        let step = |n: u64| {
            n.wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407)
        };
        let before = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(step(n)));
        (before.expect("always some") >> 33) % limit
    }
}

/// A message by its alert's number and its own, and how often it came.
type Message = ((u64, u64), Value, u32);

/// A receiver that is in a bad mood now and then. What it has answered well, it has.
struct Receiver {
    port: u16,
    /// In the order of their first arrival.
    got: Mutex<Vec<Message>>,
    friendly: AtomicBool,
    dice: Dice,
}

impl Receiver {
    fn start(dice: Dice) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let own = Arc::new(Self {
            port: listener.local_addr().expect("an address").port(),
            got: Mutex::default(),
            friendly: AtomicBool::new(false),
            dice,
        });
        let receiver = Arc::clone(&own);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let receiver = Arc::clone(&receiver);
                std::thread::spawn(move || receiver.serve(stream));
            }
        });
        own
    }

    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        let body = loop {
            if let Some(body) = whole(&request) {
                break body;
            }
            match stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => request.extend_from_slice(&chunk[..count]),
            }
        };
        let mood = self.dice.throw(10);
        if !self.friendly.load(Ordering::SeqCst) {
            match mood {
                0 => {
                    let busy =
                        "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.write_all(busy.as_bytes()).ok()?;
                    return None;
                }
                1 => return None,
                2 => std::thread::sleep(Duration::from_millis(self.dice.throw(300))),
                _ => {}
            }
        }
        let message: Value = serde_json::from_str(&body).expect("JSON");
        let number = |key: &str| message[key].as_u64().expect("a number");
        let key = (number("id"), number("serial"));
        {
            let mut got = self.got.lock().expect("the list");
            match got.iter_mut().find(|(known, _, _)| *known == key) {
                Some((_, before, count)) => {
                    assert_eq!(*before, message, "the same numbers, another message");
                    *count += 1;
                }
                None => got.push((key, message, 1)),
            }
        }
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(ok.as_bytes()).ok()
    }
}

fn whole(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let line = line.to_lowercase();
        line.strip_prefix("content-length: ")?.parse::<usize>().ok()
    })?;
    (body.len() >= length).then(|| body.to_owned())
}

/// Gives signs of life by a file, with long silences between, until it is told how to end.
fn flicker(file: &Path, dice: &Dice, ends: &AtomicU64) {
    const GOES_ON: u64 = 0;
    let mut number = 0_u64;
    let mut beat = || {
        number += 1;
        let next = file.with_extension("next");
        fs::write(&next, number.to_string()).expect("written");
        fs::rename(&next, file).expect("renamed");
        std::thread::sleep(Duration::from_millis(50));
    };
    while ends.load(Ordering::SeqCst) == GOES_ON {
        for _ in 0..dice.throw(20) {
            beat();
        }
        std::thread::sleep(Duration::from_millis(dice.throw(1_500)));
    }
    while ends.load(Ordering::SeqCst) == WELL {
        beat();
    }
}

const WELL: u64 = 1;
const SILENT: u64 = 2;
const OVER: u64 = 3;

#[test]
fn f28_two_hundred_kills_while_alerts_go_out_lose_none_of_them() {
    const KILLS: u32 = 200;
    let dice = Dice(Arc::new(AtomicU64::new(0x9e37_79b9_7f4a_7c15)));
    let receiver = Receiver::start(dice.clone());
    let mut plan = World::plan().config(&format!(
        "[alerts]\ngroup_wait = \"50ms\"\n[alerts.sinks.hook]\nkind = \"webhook\"\n\
         url = \"http://127.0.0.1:{}/\"\ntimeout = \"2s\"\n{}",
        receiver.port,
        ["warning", "degraded", "critical"]
            .map(|level| format!("[[alerts.escalate]]\nlevel = \"{level}\"\nto = [\"hook\"]\n"))
            .concat()
    ));
    let names = ["a", "b", "c", "d"];
    for name in names {
        plan = plan.service(
            name,
            &format!(
                "interval = \"100ms\"\npoke_on = []\nheartbeat_file = \"{name}.beat\"\n\
                 heartbeat_file_kind = \"mtime\"\n"
            ),
        );
    }
    // So many that the four are no storm.
    for n in 0..12 {
        plan = plan.service(&format!("calm{n}"), "on_demand = true");
    }
    let mut world = plan.prepare();
    let ends: Vec<Arc<AtomicU64>> = names.iter().map(|_| Arc::default()).collect();
    let flickering: Vec<_> = names
        .iter()
        .zip(&ends)
        .map(|(name, ends)| {
            let (file, dice) = (world.file(&format!("{name}.beat")), dice.clone());
            let ends = Arc::clone(ends);
            std::thread::spawn(move || flicker(&file, &dice, &ends))
        })
        .collect();

    let began = Instant::now();
    world.spawn();
    for _ in 0..KILLS {
        // Half of the kills meet it while it starts, half while it works.
        if dice.throw(2) == 0 {
            world.wait_ready();
        }
        std::thread::sleep(Duration::from_millis(dice.throw(200)));
        world.kill();
        world.spawn();
    }
    world.wait_ready();
    println!("{KILLS} kills took {:?}", began.elapsed());

    receiver.friendly.store(true, Ordering::SeqCst);
    for (end, how) in ends.iter().zip([SILENT, SILENT, WELL, WELL]) {
        end.store(how, Ordering::SeqCst);
    }
    let all = |world: &World| {
        let mut alerts: Vec<Value> = Vec::new();
        let mut before = String::new();
        loop {
            let page = world.get(&format!("/api/alerts?state=all&limit=1000{before}"));
            let page = page.json();
            alerts.extend(page["alerts"].as_array().expect("a list").iter().cloned());
            match page["next"].as_u64() {
                Some(next) => before = format!("&before={next}"),
                None => return alerts,
            }
        }
    };
    let open_of = |alerts: &[Value], name: &str| -> Vec<Value> {
        let of_it = |one: &&Value| one["service"] == name && one["state"] != "resolved";
        alerts.iter().filter(of_it).cloned().collect()
    };
    wait_within(
        Duration::from_secs(120),
        "all is settled and delivered",
        || {
            let alerts = all(&world);
            let settled = names
                .iter()
                .zip([true, true, false, false])
                .all(|(name, bad)| match open_of(&alerts, name).as_slice() {
                    [one] => bad && one["level"] == "critical" && one["state"] == "firing",
                    [] => !bad,
                    more => panic!("two alerts for one incident: {more:?}"),
                });
            let got = receiver.got.lock().expect("the list").len();
            let sent: u64 = alerts
                .iter()
                .filter_map(|one| one["messages"].as_u64())
                .sum();
            (settled && got as u64 >= sent).then_some(())
        },
    );

    let alerts = all(&world);
    let got = receiver.got.lock().expect("the list").clone();
    let mut by_alert: BTreeMap<u64, Vec<(u64, Value)>> = BTreeMap::new();
    for ((id, serial), message, _) in &got {
        let messages = by_alert.entry(*id).or_default();
        messages.push((*serial, message.clone()));
    }
    let mut of_services: HashMap<String, u32> = HashMap::new();
    for alert in &alerts {
        let id = alert["id"].as_u64().expect("a number");
        let messages = by_alert.remove(&id).unwrap_or_default();
        let serials: Vec<u64> = messages.iter().map(|(serial, _)| *serial).collect();
        let sent = alert["messages"].as_u64().expect("a number");
        let whole: Vec<u64> = (1..=sent).collect();
        assert_eq!(serials, whole, "each once or more, in order: {alert:#}");
        let kind = |at: Option<&(u64, Value)>| at.map(|(_, message)| message["kind"].clone());
        if sent > 0 {
            assert_eq!(kind(messages.first()), Some("firing".into()), "{alert:#}");
            let over = alert["state"] == "resolved";
            assert_eq!(
                kind(messages.last()) == Some("resolved".into()),
                over,
                "{alert:#}"
            );
        }
        *of_services
            .entry(alert["service"].as_str().expect("a name").to_owned())
            .or_default() += 1;
    }
    assert!(
        by_alert.is_empty(),
        "messages of alerts that nobody knows: {by_alert:?}"
    );
    let incidents: u32 = names.iter().filter_map(|name| of_services.get(*name)).sum();
    let twice: u32 = got.iter().map(|(_, _, count)| count - 1).sum();
    println!(
        "{of_services:?}; {} messages, {twice} more than once",
        got.len()
    );
    assert!(incidents >= 20, "{of_services:?}");
    for end in &ends {
        end.store(OVER, Ordering::SeqCst);
    }
    for thread in flickering {
        thread.join().expect("it ends");
    }
}
