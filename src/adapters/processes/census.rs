//! Who lives on this machine: one look for all who want to know at the same time, on a thread
//! that may block. All of `/proc`, with an environment each, is much to read; after our death
//! hundreds of services may have lost their shims.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::environment::TOKEN_VARIABLE;
use super::proc_fs::{self, Status};

/// Everybody, at one moment.
#[derive(Debug)]
pub(super) struct Census {
    pub(super) all: Vec<Status>,
    /// What stands in their environment of our variable, as `NAME=value`.
    tokens: HashMap<i32, Vec<Vec<u8>>>,
}

/// Where to ask. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry(Rc<RefCell<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<oneshot::Sender<Arc<io::Result<Census>>>>,
    looking: bool,
}

impl Census {
    /// Looks at everybody.
    fn take() -> io::Result<Self> {
        let all = proc_fs::all()?;
        let mut tokens = HashMap::new();
        for process in &all {
            let found = proc_fs::variables(process.id.pid, TOKEN_VARIABLE)?;
            if !found.is_empty() {
                tokens.insert(process.id.pid, found);
            }
        }
        Ok(Self { all, tokens })
    }

    /// Whether a process has exactly this `NAME=value` of our variable.
    pub(super) fn has_token(&self, pid: i32, token: &str) -> bool {
        let found = self.tokens.get(&pid);
        found.is_some_and(|found| found.iter().any(|one| one == token.as_bytes()))
    }
}

impl Registry {
    /// A look that has begun after this was called: what it does not find did not live then.
    pub(super) async fn ask(&self) -> Arc<io::Result<Census>> {
        let (sender, answer) = oneshot::channel();
        let begin = {
            let mut queue = self.0.borrow_mut();
            queue.waiting.push(sender);
            !std::mem::replace(&mut queue.looking, true)
        };
        if begin {
            actix_rt::spawn(self.clone().look());
        }
        answer
            .await
            .unwrap_or_else(|_| Arc::new(Err(io::ErrorKind::Interrupted.into())))
    }

    /// Until nobody waits any more.
    async fn look(self) {
        loop {
            let waiting = {
                let mut queue = self.0.borrow_mut();
                let waiting = std::mem::take(&mut queue.waiting);
                queue.looking = !waiting.is_empty();
                waiting
            };
            if waiting.is_empty() {
                return;
            }
            let found = tokio::task::spawn_blocking(Census::take).await;
            let found = Arc::new(found.unwrap_or_else(|error| Err(io::Error::other(error))));
            for one in waiting {
                // Who does not wait any more has no use for it.
                let _gone = one.send(Arc::clone(&found));
            }
        }
    }
}
