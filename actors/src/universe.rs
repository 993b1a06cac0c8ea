//! A universe: all actors over one set of ports. The only place where they are wired.
//!
//! Two of them side by side share nothing, not even by accident: there are no globals.

use std::rc::Rc;
use std::sync::Arc;

use actix::Actor;
use slog::Logger;

use supervisor_core::alert::Policy as AlertPolicy;

use crate::alerter::Alerter;
use crate::archive::Archive;
use crate::deacon::Deacon;
use crate::door::Door;
use crate::feed::Feed;
use crate::guardian::{Guard, Guardian, Subject};
use crate::handle::{AlertsHandle, Directory, SupervisorHandle};
use crate::internal;
use crate::messages::{OpenWindow, ServiceId};
use crate::registration::Admit;
use crate::service::Service;
use crate::spec::ServiceSpec;
use crate::supervisor::Supervisor;
use crate::sync::{Debouncer, SyncHandle, SyncSetup, Syncer, Watcher};
use crate::world::{Ports, Watched, World};

/// What a universe is made of.
pub struct Setup {
    /// What is watched. Names are unique, and what services depend on exists and goes in no
    /// circle: the configuration has checked it. What is wrong all the same is logged and
    /// left out.
    pub specs: Vec<ServiceSpec>,
    /// Makes services of what registers itself at run time.
    pub admit: Admit,
    /// The world outside.
    pub ports: Ports,
    /// What is mirrored into tables, if anything is.
    pub sync: Option<SyncSetup>,
    /// Who is told of what. It names only sinks that there are.
    pub alerting: AlertPolicy,
    /// Why all services are paused before the first start, if they are.
    pub paused: Option<String>,
    /// Which maintenance windows are open.
    pub maintenance: Vec<OpenWindow>,
    /// Where everything is logged.
    pub log: Logger,
}

/// Running actors and the handles to them.
pub struct Universe {
    /// The watched services, for signs of life.
    pub directory: Directory,
    /// The supervisor, to ask and to command.
    pub supervisor: SupervisorHandle,
    /// The alerts, to ask and to take.
    pub alerts: AlertsHandle,
    /// What changes, to look on.
    pub feed: Arc<Feed>,
    /// The sync, to ask and to command, where something is mirrored.
    pub sync: Option<SyncHandle>,
}

impl Universe {
    /// Starts all actors on the present thread, which runs an actix system.
    ///
    /// The first starts are sent once memory is loaded and each service has looked for what
    /// still lives of it; [`SupervisorHandle::is_ready`] says when.
    #[must_use]
    pub fn start(setup: Setup) -> Self {
        let world = World::new(
            setup.ports,
            setup.sync,
            setup.alerting,
            setup.admit,
            setup.paused,
            setup.maintenance,
            setup.log,
        );
        for spec in setup
            .specs
            .into_iter()
            .chain(internal::specs(world.sync.is_some()))
        {
            world.watch(spec);
        }
        for subject in [
            Subject::Guardian,
            Subject::Archive,
            Subject::Deacon,
            Subject::Alerter,
            Subject::Supervisor,
        ] {
            world.build(subject);
        }
        let bell = Arc::clone(&world.bell);
        let beaten = Rc::clone(&world);
        actix_rt::spawn(bell.answer(move |id| beaten.beat(id)));
        if world.sync.is_some() {
            for subject in [Subject::Syncer, Subject::Debouncer, Subject::Watcher] {
                world.build(subject);
            }
        }
        Self {
            directory: world.directory.clone(),
            supervisor: SupervisorHandle::new(
                world.supervisor.clone(),
                world.archive.clone(),
                Arc::clone(&world.vital),
            ),
            alerts: AlertsHandle::new(world.alerter.clone()),
            feed: Arc::clone(&world.feed),
            sync: world.sync.as_ref().map(|hall| hall.handle()),
        }
    }
}

impl World {
    /// Takes a service into the list; `None` if its name is taken. Its actor is built by the
    /// supervisor, when it is ready to hear from it.
    pub(crate) fn watch(&self, spec: ServiceSpec) -> Option<ServiceId> {
        let internal = spec.name.is_internal();
        let taken = if internal {
            // Nobody outside pulses for our own actors, so they are in no directory.
            let roster = self.roster.borrow();
            let mut watched = roster.iter();
            watched.any(|(_, other)| other.spec.name == spec.name)
        } else {
            self.directory.get(spec.name.as_str()).is_some()
        };
        if taken {
            return None;
        }
        self.roster.borrow_mut().add(|id| {
            let refused = Arc::clone(&self.vital.refused);
            let bell = Arc::clone(&self.bell);
            let door = Arc::new(Door::new(spec.name.clone(), id, refused, bell));
            if !internal {
                self.directory.insert(&door);
            }
            Watched {
                spec: Rc::new(spec),
                door,
            }
        })
    }

    /// The same for an actor of the sync.
    fn build_sync(&self, subject: Subject, guard: Guard) {
        let Some(hall) = &self.sync else {
            return;
        };
        match subject {
            Subject::Watcher => hall.watcher.set(Watcher::new(guard).start()),
            Subject::Debouncer => hall.debouncer.set(Debouncer::new(guard).start()),
            Subject::Syncer => hall.syncer.set(Syncer::new(guard).start()),
            Subject::Supervisor
            | Subject::Archive
            | Subject::Deacon
            | Subject::Alerter
            | Subject::Guardian
            | Subject::Service(_) => {}
        }
    }

    /// Builds an actor, for the first time or after its death, and lets its link point to it.
    pub(crate) fn build(self: &Rc<Self>, subject: Subject) {
        let guard = Guard::new(Rc::clone(self), subject);
        match subject {
            Subject::Guardian => self.guardian.set(Guardian::new(guard).start()),
            Subject::Archive => self.archive.set(Archive::new(guard).start()),
            Subject::Deacon => self.deacon.set(Deacon::new(guard).start()),
            Subject::Alerter => self.alerter.set(Alerter::new(guard).start()),
            Subject::Supervisor => self.supervisor.set(Supervisor::new(guard).start()),
            Subject::Watcher | Subject::Debouncer | Subject::Syncer => {
                self.build_sync(subject, guard);
            }
            Subject::Service(id) => {
                if let Some(Watched { spec, door }) = self.watched(id) {
                    let service = Service::new(guard, Arc::clone(&door), spec);
                    door.address.set(service.start());
                }
            }
        }
    }
}
