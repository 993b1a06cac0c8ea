//! What `top` shows and what keys do to it: no terminal, no supervisor, no clock.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use supervisor_core::ServiceName;

use crate::cli::api::Service;
use crate::cli::escape::StreamEscaper;
use crate::cli::status::shown;

/// Lines of a log that are kept.
const MOST_LINES: usize = 1_000;

/// Everything that is on the screen.
#[derive(Default)]
pub(super) struct Model {
    services: Vec<Service>,
    /// Why there is nothing newer, and for how many seconds already.
    pub(super) lost: Option<(u64, String)>,
    /// The service under the cursor; it stays under it wherever its row goes.
    selected: Option<ServiceName>,
    /// What a name, a tag or a reason must hold.
    pub(super) filter: String,
    /// Whether keys go into the filter.
    pub(super) typing: bool,
    pub(super) pane: Pane,
    pub(super) log: Log,
    /// What will be done once somebody says yes.
    pub(super) asked: Option<(Action, ServiceName)>,
    /// What became of the last action.
    pub(super) said: Option<Said>,
    /// Rows that fit on the screen: how far a page goes.
    pub(super) page: usize,
}

/// What stands below the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Pane {
    #[default]
    Nothing,
    /// What the service prints.
    Log,
    /// Everything known of the service.
    Card,
    /// Which key does what.
    Help,
}

/// A sentence about an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) failed: bool,
}

/// What can be done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Start,
    Stop,
    Restart,
    Nudge,
    Pause,
    Resume,
    Clear,
}

/// What a key asks of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Quit,
    Do(Action, ServiceName),
}

impl Action {
    /// Each with its key.
    pub(super) const ALL: [(char, Self); 7] = [
        ('r', Self::Restart),
        ('n', Self::Nudge),
        ('s', Self::Start),
        ('x', Self::Stop),
        ('p', Self::Pause),
        ('u', Self::Resume),
        ('c', Self::Clear),
    ];

    /// The API's word.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Nudge => "nudge",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Clear => "clear",
        }
    }

    /// Whether a slip of a finger would interrupt what runs.
    fn interrupts(self) -> bool {
        match self {
            Self::Stop | Self::Restart | Self::Nudge => true,
            Self::Start | Self::Pause | Self::Resume | Self::Clear => false,
        }
    }
}

impl Model {
    /// What the supervisor says now: the worst first, else in the configuration's order.
    pub(super) fn update(&mut self, services: Vec<Service>) {
        self.services = services;
        self.services
            .sort_by_key(|service| std::cmp::Reverse(service.level()));
        self.lost = None;
        self.settle();
    }

    /// Those with a row.
    pub(super) fn rows(&self) -> Vec<&Service> {
        let wanted = self.filter.to_lowercase();
        let holds = |text: &str| text.to_lowercase().contains(&wanted);
        let mut rows = shown(&self.services, false);
        rows.retain(|service| {
            [&service.name, &service.status, &service.state]
                .into_iter()
                .chain(&service.tags)
                .any(|text| holds(text))
                || holds(service.reason())
        });
        rows
    }

    /// All that count: what the header sums up.
    pub(super) fn all(&self) -> Vec<&Service> {
        shown(&self.services, false)
    }

    /// The row under the cursor.
    pub(super) fn cursor(&self) -> Option<usize> {
        let selected = self.selected.as_ref()?;
        self.rows()
            .iter()
            .position(|service| service.name == selected.as_str())
    }

    /// The service under the cursor.
    pub(super) fn selected(&self) -> Option<&Service> {
        self.cursor().map(|at| self.rows()[at])
    }

    /// Whose log is wanted.
    pub(super) fn followed(&self) -> Option<ServiceName> {
        (self.pane == Pane::Log)
            .then(|| self.selected.clone())
            .flatten()
    }

    /// Does what a key says.
    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Wish::Quit,
                _ => Wish::Nothing,
            };
        }
        if let Some((action, name)) = self.asked.take() {
            return match key.code {
                KeyCode::Char('y' | 'Y') | KeyCode::Enter => Wish::Do(action, name),
                _ => Wish::Nothing,
            };
        }
        self.said = None;
        if self.typing {
            self.typed(key.code);
            self.settle();
            return Wish::Nothing;
        }
        match key.code {
            KeyCode::Char('q') => return Wish::Quit,
            KeyCode::Esc if self.pane != Pane::Nothing => self.pane = Pane::Nothing,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Up | KeyCode::Char('k') => self.walk(|at, _| at.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.walk(|at, _| at + 1),
            KeyCode::PageUp => self.walk(usize::saturating_sub),
            KeyCode::PageDown => self.walk(|at, page| at + page),
            KeyCode::Home | KeyCode::Char('g') => self.walk(|_, _| 0),
            KeyCode::End | KeyCode::Char('G') => self.walk(|_, _| usize::MAX),
            KeyCode::Char('l') => self.toggle(Pane::Log),
            KeyCode::Enter | KeyCode::Char('d') => self.toggle(Pane::Card),
            KeyCode::Char('?' | 'h') => self.toggle(Pane::Help),
            KeyCode::Char(typed) => return self.act(typed),
            _ => {}
        }
        self.settle();
        Wish::Nothing
    }

    fn act(&mut self, typed: char) -> Wish {
        let action = Action::ALL.iter().find(|(key, _)| *key == typed);
        let (Some((_, action)), Some(name)) = (action, self.selected.clone()) else {
            return Wish::Nothing;
        };
        if action.interrupts() {
            self.asked = Some((*action, name));
            return Wish::Nothing;
        }
        Wish::Do(*action, name)
    }

    fn typed(&mut self, code: KeyCode) {
        /// Nobody looks for more.
        const LONGEST: usize = 64;
        match code {
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(typed) if self.filter.len() < LONGEST => self.filter.push(typed),
            _ => {}
        }
    }

    fn toggle(&mut self, pane: Pane) {
        self.pane = if self.pane == pane {
            Pane::Nothing
        } else {
            pane
        };
    }

    /// Moves the cursor, at most to the last row.
    fn walk(&mut self, to: impl Fn(usize, usize) -> usize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else {
            return;
        };
        let at = to(self.cursor().unwrap_or_default(), self.page.max(1)).min(last);
        self.selected = ServiceName::new(&rows[at].name).ok();
    }

    /// Puts the cursor somewhere, where its service has gone.
    fn settle(&mut self) {
        if self.cursor().is_none() {
            self.selected = None;
            self.walk(|_, _| 0);
        }
    }
}

/// The end of what a service printed, safe for a terminal.
#[derive(Default)]
pub(super) struct Log {
    lines: VecDeque<String>,
    escaper: StreamEscaper,
}

impl Log {
    /// Takes what it printed since.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let text = self.escaper.feed(bytes);
        for part in text.split_inclusive('\n') {
            match self.lines.back_mut() {
                Some(line) if !line.ends_with('\n') => line.push_str(part),
                _ => self.lines.push_back(part.to_owned()),
            }
        }
        while self.lines.len() > MOST_LINES {
            self.lines.pop_front();
        }
    }

    /// A sentence of ours between them.
    pub(super) fn remark(&mut self, text: &str) {
        self.lines.push_back(format!("── {text}\n"));
    }

    /// The last of them.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(|line| line.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(levels: &[(&str, &str)]) -> Model {
        let mut model = Model::default();
        model.update(services(levels));
        model
    }

    fn services(levels: &[(&str, &str)]) -> Vec<Service> {
        levels
            .iter()
            .map(|(name, level)| Service {
                name: (*name).to_owned(),
                status: (*level).to_owned(),
                state: "running".to_owned(),
                ..Service::default()
            })
            .collect()
    }

    fn press(model: &mut Model, keys: &str) -> Wish {
        keys.chars().fold(Wish::Nothing, |_, typed| {
            let code = match typed {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\x08' => KeyCode::Backspace,
                typed => KeyCode::Char(typed),
            };
            model.key(KeyEvent::new(code, KeyModifiers::NONE))
        })
    }

    fn names(model: &Model) -> Vec<&str> {
        model.rows().iter().map(|s| s.name.as_str()).collect()
    }

    fn selected(model: &Model) -> &str {
        &model.selected().expect("one").name
    }

    #[test]
    fn the_worst_is_first_and_the_cursor_stays_with_its_service() {
        let mut model = model(&[("a", "healthy"), ("b", "critical"), ("c", "warning")]);
        assert_eq!(names(&model), ["b", "c", "a"]);
        assert_eq!(selected(&model), "b");
        press(&mut model, "jj");
        assert_eq!(selected(&model), "a");
        press(&mut model, "jjj");
        assert_eq!(selected(&model), "a", "the last");
        model.update(services(&[("a", "critical"), ("b", "healthy")]));
        assert_eq!((selected(&model), model.cursor()), ("a", Some(0)));
        model.update(services(&[("b", "healthy")]));
        assert_eq!(selected(&model), "b", "the other has gone");
    }

    #[test]
    fn what_interrupts_is_asked_about_first() {
        let mut model = model(&[("a", "healthy")]);
        let name = ServiceName::new("a").unwrap();
        assert_eq!(press(&mut model, "r"), Wish::Nothing);
        assert_eq!(model.asked, Some((Action::Restart, name.clone())));
        assert_eq!(press(&mut model, "n"), Wish::Nothing, "no");
        assert_eq!(model.asked, None);
        assert_eq!(
            press(&mut model, "xy"),
            Wish::Do(Action::Stop, name.clone())
        );
        assert_eq!(press(&mut model, "p"), Wish::Do(Action::Pause, name));
    }

    #[test]
    fn it_is_the_service_that_was_asked_about_whatever_happens_meanwhile() {
        let mut model = model(&[("a", "healthy"), ("b", "healthy")]);
        press(&mut model, "x");
        model.update(services(&[("b", "critical")]));
        let name = ServiceName::new("a").unwrap();
        assert_eq!(press(&mut model, "y"), Wish::Do(Action::Stop, name));
    }

    #[test]
    fn a_filter_takes_names_levels_tags_and_reasons() {
        let mut model = model(&[("web-1", "healthy"), ("db", "critical")]);
        press(&mut model, "/WEB");
        assert_eq!(names(&model), ["web-1"]);
        assert_eq!(selected(&model), "web-1");
        press(&mut model, "q\x08\n");
        assert_eq!(model.filter, "WEB", "q is a letter here");
        press(&mut model, "\x1b/crit\n");
        assert_eq!(names(&model), ["db"]);
        press(&mut model, "/zzz");
        assert!(names(&model).is_empty() && model.selected().is_none());
        assert_eq!(
            press(&mut model, "\nr"),
            Wish::Nothing,
            "there is nothing to restart"
        );
    }

    #[test]
    fn panes_open_and_close() {
        let mut model = model(&[("a", "healthy")]);
        assert_eq!(model.followed(), None);
        press(&mut model, "l");
        assert_eq!(model.followed(), ServiceName::new("a").ok());
        press(&mut model, "d");
        assert_eq!(model.pane, Pane::Card);
        press(&mut model, "\x1b");
        assert_eq!(model.pane, Pane::Nothing);
    }

    #[test]
    fn the_end_is_asked_for_by_q_and_by_control_c() {
        let mut model = model(&[]);
        assert_eq!(press(&mut model, "q"), Wish::Quit);
        press(&mut model, "/");
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(model.key(interrupt), Wish::Quit);
    }

    #[test]
    fn a_log_is_shown_line_by_line_and_obeyed_by_no_terminal() {
        let mut log = Log::default();
        log.feed(b"one\ntw");
        log.feed(b"o\x1b[2J\n");
        log.remark("it was restarted");
        log.feed(b"three");
        let lines: Vec<&str> = log.last(10).collect();
        assert_eq!(
            lines,
            ["one", "two\\x1b[2J", "── it was restarted", "three"]
        );
        for _ in 0..2 * MOST_LINES {
            log.feed(b"more\n");
        }
        assert_eq!(log.last(usize::MAX).count(), MOST_LINES);
    }
}
