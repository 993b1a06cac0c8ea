//! A world in which nothing is kept and nothing is run: for a sync alone, which has neither
//! services nor, unless it is given one, a history.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, LocalBoxFuture, ready};

use supervisor_actors::Ports;
use supervisor_actors::messages::Mark;
use supervisor_actors::ports::alerts::{AlertBatch, AlertQuery, AlertStore, Kept};
use supervisor_actors::ports::history::{History, HistoryQuery, Minutes, Page};
use supervisor_actors::ports::output::Hearing;
use supervisor_actors::ports::{
    Adoption, Batch, Bygone, Clock, DeaconFile, Deleted, Errands, EventQuery, EventRow, Launch,
    Marks, Process, ProcessEvent, ProcessSink, Processes, RunQuery, RunRow, Store, StoreError,
};
use supervisor_actors::spec::{Nudge, ProcessSpec, ServiceSpec};
use supervisor_core::alert::Alert;
use supervisor_core::{ServiceName, Timestamp};

use super::dice::RealDice;

/// Does nothing, and keeps nothing.
struct Quiet;

/// Ports over a real clock that do nothing, but for events: those go into `store`, if there is
/// one.
pub(crate) fn ports(clock: Arc<dyn Clock>, store: Option<Box<dyn Store>>) -> Ports {
    Ports {
        clock,
        dice: Arc::new(RealDice::new()),
        processes: Rc::new(Quiet),
        errands: Rc::new(Quiet),
        marks: Rc::new(Quiet),
        store: store.unwrap_or_else(|| Box::new(Quiet)),
        deacon: Box::new(Quiet),
        alerts: Box::new(Quiet),
        sinks: Vec::new(),
        history: Arc::new(Quiet),
    }
}

fn refused() -> LocalBoxFuture<'static, Result<(), String>> {
    ready(Err("there are no services here".to_owned())).boxed_local()
}

impl History for Quiet {
    fn keep(&self, _: Minutes) {}

    fn read(&self, _: HistoryQuery) -> BoxFuture<'static, Result<Page, StoreError>> {
        ready(Ok(Page::default())).boxed()
    }

    fn delete(&self, _: ServiceName, _: Timestamp) -> BoxFuture<'static, Result<u64, StoreError>> {
        ready(Ok(0)).boxed()
    }
}

impl Processes for Quiet {
    fn launch(&self, _: Launch, sink: ProcessSink) -> Box<dyn Process> {
        sink(ProcessEvent::Gone);
        Box::new(Self)
    }

    fn adopt<'a>(
        &'a self,
        _: &'a ServiceName,
        _: &'a ProcessSpec,
        _: Option<Hearing>,
        _: ProcessSink,
    ) -> LocalBoxFuture<'a, Option<Adoption>> {
        ready(None).boxed_local()
    }

    fn forget(&self, _: &ServiceName) {}

    fn weigh(&self, mains: Vec<i32>) -> LocalBoxFuture<'static, Vec<Option<u64>>> {
        ready(vec![None; mains.len()]).boxed_local()
    }
}

impl Process for Quiet {
    fn stop(&self) {}

    fn signal(&self, _: i32) -> Result<(), String> {
        Err("there is no process".to_owned())
    }

    fn extend(&self, _: Duration) {}

    fn remember(&self, _: &str) {}
}

impl Errands for Quiet {
    fn nudge(&self, _: &ServiceSpec, _: &Nudge) -> LocalBoxFuture<'static, Result<(), String>> {
        refused()
    }

    fn run(&self, _: &ServiceSpec, _: &[String]) -> LocalBoxFuture<'static, Result<(), String>> {
        refused()
    }
}

impl Marks for Quiet {
    fn read(&self) -> Option<Mark> {
        None
    }

    fn leave(&self, _: &Mark) {}

    fn boot(&self) -> String {
        String::new()
    }
}

impl Store for Quiet {
    fn load(&mut self) -> Result<Vec<(String, String)>, StoreError> {
        Ok(Vec::new())
    }

    fn commit(&mut self, _: &Batch) -> Result<i64, StoreError> {
        Ok(0)
    }

    fn events(&mut self, _: &EventQuery) -> Result<Vec<EventRow>, StoreError> {
        Ok(Vec::new())
    }

    fn delete(&mut self, _: &Bygone) -> Result<Deleted, StoreError> {
        Ok(Deleted {
            records: 0,
            next: None,
        })
    }

    fn runs(&mut self, _: &RunQuery) -> Result<Vec<RunRow>, StoreError> {
        Ok(Vec::new())
    }
}

impl DeaconFile for Quiet {
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        None
    }
}

impl AlertStore for Quiet {
    fn load(&mut self) -> Result<Kept, StoreError> {
        Ok(Kept::default())
    }

    fn commit(&mut self, _: &AlertBatch) -> Result<(), StoreError> {
        Ok(())
    }

    fn alerts(&mut self, _: &AlertQuery) -> Result<Vec<Alert>, StoreError> {
        Ok(Vec::new())
    }
}
