//! What a message says, the same in every sink.

use serde::Serialize;
use supervisor_core::Level;
use supervisor_core::alert::{Alert, Notice, NoticeKind, Subject};

/// How many members of a storm are listed.
const SOME: usize = 20;

/// An alert as templates and commands see it: plain fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fields {
    /// The alert's number.
    pub(super) id: u64,
    /// This message's number within the alert: the two together are unique.
    pub(super) serial: u32,
    /// `firing`, `escalated`, `repeated`, `acknowledged`, `resolved`, `test`.
    pub(super) kind: &'static str,
    /// `service`, `storm`, `sink`, `supervisor`.
    pub(super) about: &'static str,
    /// The service's name, or what else it is about.
    pub(super) service: String,
    pub(super) level: &'static str,
    pub(super) title: String,
    pub(super) reason: String,
    pub(super) opened: String,
    pub(super) resolved: Option<String>,
    /// Who has taken it.
    pub(super) by: Option<String>,
    pub(super) note: Option<String>,
    pub(super) members: Vec<String>,
    /// This machine's name.
    pub(super) host: String,
    /// Where people look.
    pub(super) url: Option<String>,
}

impl Fields {
    pub(super) fn of(notice: &Notice, host: &str, url: Option<&str>) -> Self {
        let alert = &notice.alert;
        let (about, service) = match &alert.subject {
            Subject::Service(name) => ("service", name.to_string()),
            Subject::Storm => ("storm", "storm".to_owned()),
            Subject::Sink(name) => ("sink", name.to_string()),
            Subject::Own(what) => ("supervisor", what.clone()),
        };
        let members = alert.members.iter().take(SOME).map(ToString::to_string);
        Self {
            id: alert.id.0,
            serial: alert.serial,
            kind: notice.kind.as_str(),
            about,
            service,
            level: alert.level.as_str(),
            title: title(notice.kind, alert, host),
            reason: alert.reason.clone(),
            opened: alert.opened.rfc3339(),
            resolved: alert.closed.map(supervisor_core::Timestamp::rfc3339),
            by: alert.acknowledged.as_ref().map(|taken| taken.who.clone()),
            note: alert.acknowledged.as_ref().map(|taken| taken.note.clone()),
            members: members.collect(),
            host: host.to_owned(),
            url: url.map(str::to_owned),
        }
    }

    /// The lines under the title: what and its value.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("Reason", self.reason.clone()),
            ("Since", self.opened.clone()),
        ];
        if let Some(resolved) = &self.resolved {
            lines.push(("Until", resolved.clone()));
        }
        match (&self.by, &self.note) {
            (Some(by), Some(note)) if !note.is_empty() => {
                lines.push(("Taken by", format!("{by}: {note}")));
            }
            (Some(by), _) => lines.push(("Taken by", by.clone())),
            (None, _) => {}
        }
        if !self.members.is_empty() {
            lines.push(("Services", self.members.join(", ")));
        }
        lines.push(("Host", self.host.clone()));
        lines.push(("Alert", self.id.to_string()));
        lines
    }

    /// All of it as plain text.
    pub(super) fn text(&self) -> String {
        let lines = self.lines();
        let lines = lines.iter().map(|(what, value)| format!("{what}: {value}"));
        let mut text: Vec<String> = std::iter::once(self.title.clone()).chain(lines).collect();
        text.extend(self.url.clone());
        text.join("\n")
    }
}

/// `critical: worker on host-1`, `resolved: worker on host-1`.
fn title(kind: NoticeKind, alert: &Alert, host: &str) -> String {
    let about = match &alert.subject {
        Subject::Storm => format!("{} services at once", alert.members.len()),
        Subject::Service(_) | Subject::Sink(_) | Subject::Own(_) => alert.subject.to_string(),
    };
    let word = match kind {
        NoticeKind::Firing | NoticeKind::Escalated => alert.level.as_str().to_owned(),
        NoticeKind::Repeated => format!("still {}", alert.level.as_str()),
        NoticeKind::Acknowledged => "acknowledged".to_owned(),
        NoticeKind::Resolved => "resolved".to_owned(),
        NoticeKind::Test => "test".to_owned(),
    };
    format!("{word}: {about} on {host}")
}

/// The colour of a level, or green for what is over: red, green, blue.
pub(super) fn colour(notice: &Notice) -> u32 {
    match (notice.kind, notice.alert.level) {
        (NoticeKind::Resolved, _) => 0x2e_9e_5b,
        (_, Level::Critical) => 0xd1_34_38,
        (_, Level::Degraded) => 0xe0_7b_00,
        (_, Level::Warning | Level::Healthy | Level::Unknown) => 0xd6_a4_00,
    }
}

/// Cuts a text to so many characters, the last one an ellipsis then.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some(_) => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
    }
}
