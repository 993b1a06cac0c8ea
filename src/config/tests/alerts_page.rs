//! `docs/ALERTS.md`: what is there to copy is right as it stands.

use std::collections::BTreeSet;

use super::*;

const PAGE: &str = include_str!("../../../docs/ALERTS.md");

fn blocks() -> Vec<&'static str> {
    let parts = PAGE.split("```toml\n").skip(1);
    let blocks = parts.map(|rest| rest.split_once("```").expect("its end").0);
    blocks.collect()
}

#[test]
fn every_block_of_the_page_on_alerts_is_a_right_configuration() {
    let blocks = blocks();
    assert!(blocks.len() >= 12, "{} blocks", blocks.len());
    let env = |name: &str| {
        Some(if name.ends_with("_URL") {
            "https://hooks.example/secret".to_owned()
        } else {
            "open sesame".to_owned()
        })
    };
    for block in blocks {
        // Sinks that a block names and another one shows.
        let mut text = block.to_owned();
        for sink in ["ops", "boss", "db-team"] {
            let named = block.contains(&format!("\"{sink}\""));
            if named && !block.contains(&format!("[alerts.sinks.{sink}]")) {
                text += &format!("[alerts.sinks.{sink}]\nkind = \"log\"\n");
            }
        }
        if let Err(errors) = parse(Path::new("/etc/x/supervisor.toml"), &text, &env) {
            panic!("{}", errors.render(false, 120));
        }
    }
}

#[test]
fn there_is_a_block_to_copy_for_every_kind_of_sink() {
    let kinds: BTreeSet<&str> = blocks()
        .into_iter()
        .filter(|block| block.contains("[alerts.sinks."))
        .filter_map(|block| block.split_once("kind = \"")?.1.split_once('"'))
        .map(|(kind, _)| kind)
        .collect();
    let all = [
        "alertmanager",
        "discord",
        "email",
        "exec",
        "log",
        "ntfy",
        "pagerduty",
        "slack",
        "webhook",
    ];
    assert_eq!(kinds, BTreeSet::from(all));
}
