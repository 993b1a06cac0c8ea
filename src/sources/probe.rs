//! Probes: looks from outside, by HTTP, by TCP or by a command. A success is a pulse.
//!
//! What is configured stands in [`settings`], the three ways to look in a file each, and when
//! to look and what follows is the actor's ([`supervisor_actors::probe`]).

mod exec;
mod http;
mod settings;
mod tcp;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use supervisor_actors::ports::{Check, Look};
use supervisor_actors::probe::{Places, Plan, begin};
use supervisor_actors::source::{Ear, Listening, Source};
use supervisor_actors::spec::ServiceSpec;

use self::exec::Exec;
use self::http::Http;
use self::tcp::Tcp;
use super::About;
use crate::adapters::http_client::{CallError, HttpCalls, Place};
use crate::adapters::processes::command::Commands;
use crate::config::reader::Table;

/// How many connections are under way at once, at most: a thousand probes each ten seconds
/// are two hundred, should none of them be answered within two seconds.
const PLACES: u32 = 256;

/// What all probes share. Cheap to clone; usable on any thread.
#[derive(Debug, Clone)]
pub(crate) struct Means {
    /// Calls HTTP servers and looks up names.
    pub(crate) calls: HttpCalls,
    /// Runs commands.
    pub(crate) commands: Commands,
    places: Places,
}

impl Means {
    /// Those of a supervisor with this data directory, at this address.
    pub(crate) fn new(data_dir: &Path, url: String) -> Self {
        Self {
            calls: HttpCalls::default(),
            commands: Commands::new(data_dir.to_owned(), url),
            places: Places::new(PLACES),
        }
    }
}

/// A probe as the configuration has it.
#[derive(Debug)]
struct Probe {
    way: Way,
    plan: Plan,
    means: Means,
}

/// How it looks.
#[derive(Debug, Clone, PartialEq)]
enum Way {
    Http(Http),
    Tcp(Tcp),
    Exec(Exec),
}

/// Takes `probe`.
pub(super) fn read(table: &mut Table<'_>, about: &About<'_>) -> Option<Arc<dyn Source>> {
    let (way, plan) = table
        .take("probe", |value| settings::read(value, about))
        .value()?;
    Some(Arc::new(Probe {
        way,
        plan,
        means: about.probes.clone(),
    }))
}

impl PartialEq for Probe {
    fn eq(&self, other: &Self) -> bool {
        // What it shares with others is no part of what is configured.
        (&self.way, self.plan) == (&other.way, other.plan)
    }
}

impl Source for Probe {
    fn kind(&self) -> &'static str {
        "probe"
    }

    fn rhythm(&self) -> Option<Duration> {
        // One success may come at once, and the next as late as it may.
        Some(self.plan.interval + self.plan.timeout)
    }

    fn open(&self, service: &ServiceSpec, ear: Ear) -> Box<dyn Listening> {
        let timeout = self.plan.timeout;
        let calls = self.means.calls.clone();
        let check: Rc<dyn Check> = match &self.way {
            Way::Http(http) => Rc::new(http.check(calls, timeout)),
            Way::Tcp(tcp) => Rc::new(tcp.check(calls, timeout)),
            Way::Exec(exec) => {
                let commands = self.means.commands.clone();
                Rc::new(exec.check(service, commands, timeout))
            }
        };
        begin(service, self.plan, check, self.means.places.clone(), ear)
    }
}

/// What it means for a probe that a server at this address could not be called.
fn look_of(address: &str, error: &CallError) -> Look {
    let text = format!("{address} {error}");
    match error.place() {
        Place::Here => Look::Unable(text),
        Place::Address | Place::OnTheWay | Place::Between | Place::Answer => Look::Failed(text),
    }
}
