//! `status --watch`: on a terminal the table, redrawn in place; into a pipe a line for each
//! change. A supervisor that goes away is waited for: it may be on its way back.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::Context;
use super::api::Service;
use super::args::StatusArgs;
use super::client::ClientError;
use super::escape::escape;
use super::exit::{CliError, Exit, sentence};
use super::human::{now, seconds};
use super::output::{self, Ink, Look, put, put_bytes, reader_is_gone, terminal_size};
use super::status::{all, one, page, shown};
use super::table::{Room, card, ink};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);

/// Carries out `status --watch`: until a signal, or until nobody reads.
pub(super) async fn run(context: &Context, args: &StatusArgs) -> Result<Exit, CliError> {
    // The first answer decides whether there is anything to watch.
    let first = look(context, args).await?;
    if context.look.terminal && !context.look.json {
        on_terminal(context, args, first).await
    } else {
        into_pipe(context, args, first).await
    }
}

/// The services that are watched, as they are now.
async fn look(context: &Context, args: &StatusArgs) -> Result<Vec<Service>, ClientError> {
    Ok(match &args.name {
        Some(name) => vec![one(&context.client, name).await?.0],
        None => all(&context.client).await?.0,
    })
}

// === a terminal ===

/// The alternate screen without a cursor and without wrapping, for as long as this lives.
struct Screen;

impl Screen {
    fn enter() -> std::io::Result<Self> {
        // Made first, so that whatever was written of it is undone.
        let screen = Self;
        put("\x1b[?1049h\x1b[?25l\x1b[?7l")?;
        Ok(screen)
    }

    /// Draws over what stands there: no line is ever blank in between, so nothing flickers.
    fn draw(page: &str, rows: u16) -> std::io::Result<()> {
        let mut out = String::from("\x1b[H");
        for (at, line) in page.lines().take(usize::from(rows)).enumerate() {
            if at > 0 {
                out.push_str("\r\n");
            }
            out.push_str(line);
            out.push_str("\x1b[K");
        }
        out.push_str("\x1b[J");
        put(&out)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs no restoring.
        let _ = put_bytes(b"\x1b[?7h\x1b[?25h\x1b[?1049l");
    }
}

/// The signals that end a watch, so that the terminal is left as it was.
pub(super) struct Ends([Signal; 3]);

impl Ends {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    pub(super) async fn recv(&mut self) {
        let [a, b, c] = &mut self.0;
        tokio::select! {
            biased;
            _ = a.recv() => {}
            _ = b.recv() => {}
            _ = c.recv() => {}
        }
    }
}

async fn on_terminal(
    context: &Context,
    args: &StatusArgs,
    first: Vec<Service>,
) -> Result<Exit, CliError> {
    let mut ends = Ends::new()?;
    let mut resized = signal(SignalKind::window_change())?;
    let screen = Screen::enter()?;
    let mut services = first;
    let mut lost: Option<(Instant, String)> = None;
    loop {
        let (columns, rows) = terminal_size().unwrap_or((80, 24));
        let note = lost.as_ref().map(|(since, why)| {
            format!(
                "{} ({} ago): {why}",
                context.look.paint(Ink::BoldRed, "lost the supervisor"),
                seconds(since.elapsed().as_secs_f64().floor())
            )
        });
        let drawn = frame(
            &services,
            args,
            context.look,
            (columns, rows),
            note.as_deref(),
        );
        Screen::draw(&drawn, rows)?;
        let next = Instant::now() + EVERY;
        // Both branches may be dropped at any time: a signal stays pending, a timer is a timer.
        tokio::select! {
            biased;
            () = ends.recv() => break,
            _ = resized.recv() => continue,
            () = sleep_until(next) => {}
        }
        // Dropping the look drops its connection and nothing else.
        let seen = tokio::select! {
            biased;
            () = ends.recv() => break,
            seen = look(context, args) => seen,
        };
        match seen {
            Ok(seen) => (services, lost) = (seen, None),
            Err(error) => {
                let since = lost.take().map_or_else(Instant::now, |(since, _)| since);
                lost = Some((since, sentence(&error)));
            }
        }
    }
    drop(screen);
    // Somebody has seen enough: that is how a watch ends, whatever it showed.
    Ok(Exit::Fine)
}

/// One picture, never higher than the terminal.
fn frame(
    services: &[Service],
    args: &StatusArgs,
    look: Look,
    (columns, rows): (u16, u16),
    note: Option<&str>,
) -> String {
    let mut text = note.map_or_else(String::new, |note| format!("{note}\n"));
    if args.name.is_some() {
        text.extend(services.iter().map(|service| card(service, look)));
        return text;
    }
    let room = Room {
        width: Some(columns),
        height: Some(rows),
    };
    let shown = shown(services, args.all);
    // Beside the rows stand the note, the summary, an empty line and the headings.
    let around = text.lines().count() + 3;
    let fit = usize::from(rows).saturating_sub(around);
    if shown.len() <= fit {
        text.push_str(&page(&shown, &shown, look, room));
        return text;
    }
    // What does not fit is the least of it, and counted: nobody shall take a part for the
    // whole.
    let mut worst = shown.clone();
    worst.sort_by_key(|service| std::cmp::Reverse(service.level()));
    worst.truncate(fit.saturating_sub(1));
    let more = format!("… and {} more", shown.len() - worst.len());
    text.push_str(&page(&shown, &worst, look, room));
    text.push_str(&look.paint(Ink::Faint, &more));
    text.push('\n');
    text
}

// === a pipe ===

/// What a change is told of: the level and the state.
type Seen = BTreeMap<String, (String, String)>;

async fn into_pipe(
    context: &Context,
    args: &StatusArgs,
    first: Vec<Service>,
) -> Result<Exit, CliError> {
    let mut known = Seen::new();
    let mut services = first;
    let mut lost = false;
    let internal = args.all || args.name.is_some();
    loop {
        if !lost {
            let time = now().rfc3339();
            for line in changes(&mut known, &services, internal, &time, context.look) {
                put(&line)?;
            }
        }
        tokio::time::sleep(EVERY).await;
        if reader_is_gone() {
            return Err(output::broken_pipe().into());
        }
        match look(context, args).await {
            Ok(seen) => {
                if std::mem::take(&mut lost) {
                    output::complain("the supervisor is back");
                }
                services = seen;
            }
            Err(error) if error.may_pass() => {
                if !std::mem::replace(&mut lost, true) {
                    output::complain(&sentence(&error));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A line for each service whose level or state is not what it was.
fn changes(
    known: &mut Seen,
    services: &[Service],
    internal: bool,
    time: &str,
    look: Look,
) -> Vec<String> {
    let mut lines = Vec::new();
    for service in shown(services, internal) {
        let is = (service.status.clone(), service.state.clone());
        let was = known.insert(service.name.clone(), is.clone());
        if was.as_ref() == Some(&is) {
            continue;
        }
        lines.push(if look.json {
            let (from, to) = (was.map(|was| was.0), &is.0);
            let line = serde_json::json!({
                "time": time, "service": service.name, "from": from, "to": to,
                "state": service.state, "reason": service.reason(),
            });
            format!("{}\n", super::escape::escape_json(&line.to_string()))
        } else {
            sentence_of(service, was.as_ref(), time, look)
        });
    }
    lines
}

/// `2026-01-02T18:30:00Z worker: healthy → warning, running: 1 interval missed`
fn sentence_of(
    service: &Service,
    was: Option<&(String, String)>,
    time: &str,
    look: Look,
) -> String {
    let level = look.paint(ink(service.level()), &escape(&service.status));
    let from = was
        .filter(|was| was.0 != service.status)
        .map_or_else(String::new, |was| format!("{} → ", escape(&was.0)));
    let reason = if service.reason().is_empty() {
        String::new()
    } else {
        format!(": {}", escape(service.reason()))
    };
    format!(
        "{time} {}: {from}{level}, {}{reason}\n",
        escape(&service.name),
        escape(&service.state)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look {
        color: false,
        terminal: true,
        json: false,
    };
    const ARGS: StatusArgs = StatusArgs {
        name: None,
        watch: true,
        all: false,
    };

    fn services(levels: &[&str]) -> Vec<Service> {
        let service = |(at, level): (usize, &&str)| Service {
            name: format!("s{at}"),
            status: (*level).to_owned(),
            state: "running".to_owned(),
            ..Service::default()
        };
        levels.iter().enumerate().map(service).collect()
    }

    #[test]
    fn what_fits_is_shown_in_the_configurations_order() {
        let services = services(&["healthy", "critical", "healthy"]);
        let frame = frame(&services, &ARGS, PLAIN, (80, 6), None);
        let names: Vec<&str> = frame.lines().skip(3).map(|line| &line[..2]).collect();
        assert_eq!(names, ["s0", "s1", "s2"], "{frame}");
        assert_eq!(frame.lines().count(), 6);
    }

    #[test]
    fn where_not_all_fit_the_worst_do_and_the_rest_is_counted() {
        let services = services(&["healthy", "unknown", "warning", "healthy", "critical"]);
        for (rows, note) in [(7, None), (8, Some("lost the supervisor"))] {
            let frame = frame(&services, &ARGS, PLAIN, (80, rows), note);
            let lines: Vec<&str> = frame.lines().skip(usize::from(note.is_some())).collect();
            assert_eq!(lines[0], "1 critical, 1 warning, 2 healthy, 1 unknown");
            assert!(
                lines[3].starts_with("s4") && lines[4].starts_with("s2"),
                "{frame}"
            );
            assert!(lines[5].starts_with("s0"), "{frame}");
            assert_eq!(lines[6], "… and 2 more");
            assert_eq!(frame.lines().count(), usize::from(rows), "{frame}");
        }
    }

    #[test]
    fn a_terminal_too_low_for_anything_is_no_fault() {
        for rows in 0..6 {
            frame(&services(&["healthy"; 9]), &ARGS, PLAIN, (1, rows), None);
        }
    }

    #[test]
    fn a_line_is_printed_for_each_change_and_for_nothing_else() {
        let mut known = Seen::new();
        let mut lines =
            |services: &[Service]| changes(&mut known, services, false, "T", PLAIN).concat();
        let mut services = services(&["healthy", "unknown"]);
        assert_eq!(
            lines(&services),
            "T s0: healthy, running\nT s1: unknown, running\n"
        );
        assert_eq!(lines(&services), "");
        services[0].status = "warning".to_owned();
        services[0].reason = Some("1 interval\x1b missed".to_owned());
        services[1].state = "stopped".to_owned();
        assert_eq!(
            lines(&services),
            "T s0: healthy → warning, running: 1 interval\\x1b missed\nT s1: unknown, stopped\n"
        );
    }

    #[test]
    fn our_own_actors_are_shown_when_they_are_not_well() {
        let mut services = services(&["healthy", "healthy"]);
        services[1].name = "internal.archive".to_owned();
        let mut known = Seen::new();
        assert_eq!(changes(&mut known, &services, false, "T", PLAIN).len(), 1);
        services[1].status = "critical".to_owned();
        assert_eq!(changes(&mut known, &services, false, "T", PLAIN).len(), 1);
    }
}
