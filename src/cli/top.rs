//! `top`: the table of `status --watch` with a cursor, keys for what can be done to a service,
//! and its log. A supervisor that goes away is waited for: it may be on its way back.

mod model;
mod screen;

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::widgets::TableState;
use supervisor_core::ServiceName;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Context;
use super::api::Service;
use super::client::{Call, Chunks, ClientError};
use super::exit::{CliError, Exit, sentence};
use super::status::all;
use super::watch::Ends;
use model::{Action, Log, Model, Said, Wish};

/// Between two looks at the services.
const EVERY: Duration = Duration::from_secs(1);
/// How much of a log is shown at once when it is opened.
const TAIL: u32 = 200;

/// Carries out `top`: until a key or a signal ends it.
pub(super) async fn run(context: &Context) -> Result<Exit, CliError> {
    if !context.look.terminal {
        return Err(CliError::NoTerminal);
    }
    // The first answer decides whether there is anything to show.
    let (services, _) = all(&context.client).await?;
    let mut ends = Ends::new()?;
    let mut terminal = ratatui::try_init()?;
    let seen = show(context, services, &mut terminal, &mut ends).await;
    ratatui::restore();
    seen.map(|()| Exit::Fine)
}

async fn show(
    context: &Context,
    services: Vec<Service>,
    terminal: &mut ratatui::DefaultTerminal,
    ends: &mut Ends,
) -> Result<(), CliError> {
    let mut model = Model::default();
    model.update(services);
    let mut place = TableState::new();
    let mut keys = keys();
    let mut tail = Tail::default();
    let mut lost: Option<Instant> = None;
    let mut looking = Box::pin(look(context, EVERY));
    // What was asked for, one after the other: the answer may take a while.
    let mut acting = FuturesOrdered::new();
    loop {
        if tail.follow(model.followed()) {
            model.log = Log::default();
        }
        terminal.draw(|frame| {
            model.page = screen::draw(frame, &model, &mut place, context.look);
        })?;
        // Whatever is not chosen loses nothing: keys wait in their channel, bytes in their
        // connection, and the rest goes on where it was.
        tokio::select! {
            biased;
            () = ends.recv() => return Ok(()),
            event = keys.recv() => match event {
                // The terminal has gone.
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    match model.key(key) {
                        Wish::Nothing => {}
                        Wish::Quit => return Ok(()),
                        Wish::Do(action, name) => acting.push_back(act(context, action, name)),
                    }
                }
                // Drawn again in the new size.
                Some(_) => {}
            },
            Some(said) = acting.next() => {
                model.said = Some(said);
                looking.set(look(context, Duration::ZERO));
            }
            piece = tail.next(context) => match piece {
                Ok(bytes) => model.log.feed(&bytes),
                Err(why) => model.log.remark(&why),
            },
            seen = &mut looking => {
                match seen {
                    Ok(services) => {
                        lost = None;
                        model.update(services);
                    }
                    Err(error) => {
                        let since = lost.get_or_insert_with(Instant::now).elapsed();
                        model.lost = Some((since.as_secs(), sentence(&error)));
                    }
                }
                looking.set(look(context, EVERY));
            }
        }
    }
}

/// Asks for the services after a while.
async fn look(context: &Context, after: Duration) -> Result<Vec<Service>, ClientError> {
    tokio::time::sleep(after).await;
    Ok(all(&context.client).await?.0)
}

async fn act(context: &Context, action: Action, name: ServiceName) -> Said {
    let verb = action.verb();
    let call = Call::post(format!("/api/services/{name}/{verb}"), None);
    match context.client.call(call).await {
        Ok(_) => Said {
            text: format!("{verb} {name}: asked for"),
            failed: false,
        },
        Err(error) => Said {
            text: format!("{verb} {name}: {}", sentence(&error)),
            failed: true,
        },
    }
}

/// Terminals are read by waiting: on a thread of its own, which ends with the program.
fn keys() -> mpsc::Receiver<Event> {
    /// Nobody types so far ahead.
    const AHEAD: usize = 64;
    let (typed, keys) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if typed.blocking_send(event).is_err() {
                return;
            }
        }
    });
    keys
}

/// The log of the service that is looked at.
#[derive(Default)]
struct Tail {
    of: Option<ServiceName>,
    chunks: Option<Chunks>,
    /// Not before.
    again: Option<Instant>,
}

impl Tail {
    /// Turns to that service's, or to none. Whether that is another than before.
    fn follow(&mut self, wanted: Option<ServiceName>) -> bool {
        if self.of == wanted {
            return false;
        }
        *self = Self {
            of: wanted,
            ..Self::default()
        };
        true
    }

    /// What it prints next, or why that cannot be said. Waits for ever where none is wanted.
    /// Giving up and waiting again loses nothing but a connection that was being made.
    async fn next(&mut self, context: &Context) -> Result<actix_web::web::Bytes, String> {
        let Some(name) = &self.of else {
            return std::future::pending().await;
        };
        if let Some(again) = self.again {
            tokio::time::sleep_until(again).await;
            self.again = None;
        }
        let piece = match &mut self.chunks {
            Some(chunks) => chunks.next().await,
            None => {
                let call = Call::get(format!("/api/logs/{name}?tail={TAIL}&follow=1"));
                match context.client.stream(call).await {
                    Ok(chunks) => self.chunks.insert(chunks).next().await,
                    Err(error) => Err(error),
                }
            }
        };
        match piece {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(self.give_up("the log ended here".to_owned())),
            Err(error) => Err(self.give_up(sentence(&error))),
        }
    }

    /// Tries again a little later.
    fn give_up(&mut self, why: String) -> String {
        self.chunks = None;
        self.again = Some(Instant::now() + 3 * EVERY);
        why
    }
}
