//! The rules of a faulty store: which operation fails when, and how.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use object_store::path::Path;
use object_store::{Error, Result};

use crate::wrappers::op::Op;
use crate::wrappers::trouble::Trouble;

/// What happens to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails and has no effect.
    FailBefore(Failure),
    /// It has its effect, and then is said to have failed. A listing fails after its last item.
    FailAfter(Failure),
    /// It takes this much longer.
    Delay(Duration),
    /// It never ends.
    Hang,
    /// Only the first bytes are stored, or given back, without any error.
    Truncate(u64),
    /// A body that is read breaks with an error after this many bytes.
    Break(u64),
    /// The bit of this number (modulo the body's bits) is flipped in what is stored, or given back.
    FlipBit(u64),
}

/// What an injected failure looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server failed; another try may succeed.
    Server,
    /// No answer in time.
    Timeout,
    /// There is no such object.
    NotFound,
    /// The credentials are refused.
    Denied,
    /// The disk is full; another try does not help.
    Full,
}

impl Failure {
    pub(super) fn error(self, path: &Path) -> Error {
        let (path, source) = (path.to_string(), Trouble::Injected("as a test asked for"));
        match self {
            Self::Server => source.into(),
            Self::Timeout => Trouble::Timeout { op: "injected", limit: Duration::ZERO }.into(),
            Self::NotFound => Error::NotFound { path, source: Box::new(source) },
            Self::Denied => Error::PermissionDenied { path, source: Box::new(source) },
            Self::Full => {
                let source = Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
                Error::Generic { store: "backend", source }
            }
        }
    }
}

type Predicate = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// One rule: an action, and the operations it is for.
#[derive(Clone)]
pub struct Rule {
    action: Action,
    ops: Option<Vec<Op>>,
    path: Option<Predicate>,
    skip: u64,
    times: Option<u64>,
}

impl Rule {
    /// A rule for every operation, for ever.
    pub fn new(action: Action) -> Self {
        Self { action, ops: None, path: None, skip: 0, times: None }
    }

    /// Only for these operations.
    #[must_use]
    pub fn on(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.ops = Some(ops.into_iter().collect());
        self
    }

    /// Only for paths that fulfil `predicate`. A listing's path is its prefix, a copy's its target.
    #[must_use]
    pub fn path(mut self, predicate: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.path = Some(Arc::new(predicate));
        self
    }

    /// Only for `prefix` and paths below it.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        let prefix = Path::from(prefix);
        self.path(move |path| path.prefix_matches(&prefix))
    }

    /// Lets the first `count` operations that fit pass.
    #[must_use]
    pub fn after(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Works `count` times, then no more.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    fn fits(&self, op: Op, path: &Path) -> bool {
        self.times != Some(0)
            && self.ops.as_ref().is_none_or(|ops| ops.contains(&op))
            && self.path.as_ref().is_none_or(|predicate| predicate(path))
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule").field("action", &self.action).field("ops", &self.ops).finish_non_exhaustive()
    }
}

/// A rule that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleId(u64);

/// Says when the store fails, and knows what was asked of it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct FaultHandle(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    rules: Vec<(RuleId, Rule)>,
    next: u64,
    seen: Vec<(Op, Path)>,
}

impl FaultHandle {
    /// Adds a rule. Of several that fit an operation, the one added first works.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut script = self.lock();
        let id = RuleId(script.next);
        script.next += 1;
        script.rules.push((id, rule));
        id
    }

    /// Takes a rule away.
    pub fn remove(&self, id: RuleId) {
        self.lock().rules.retain(|(known, _)| *known != id);
    }

    /// Takes all rules away. What hangs already goes on hanging.
    pub fn clear(&self) {
        self.lock().rules.clear();
    }

    /// Every operation asked so far, in order.
    pub fn seen(&self) -> Vec<(Op, Path)> {
        self.lock().seen.clone()
    }

    /// How often an operation was asked.
    pub fn count(&self, op: Op) -> usize {
        self.lock().seen.iter().filter(|(seen, _)| *seen == op).count()
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.lock().seen.clear();
    }

    /// The action for an operation that begins now.
    pub(super) fn choose(&self, op: Op, path: &Path) -> Option<Action> {
        let mut script = self.lock();
        script.seen.push((op, path.clone()));
        for (_, rule) in script.rules.iter_mut().filter(|(_, rule)| rule.fits(op, path)) {
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times = rule.times.map(|left| left - 1);
            return Some(rule.action);
        }
        None
    }

    /// Does what an action does before the operation; gives back the rest of it.
    pub(super) async fn enter(&self, op: Op, path: &Path) -> Result<Option<Action>> {
        let action = self.choose(op, path);
        Self::begin(action, path).await?;
        Ok(action)
    }

    /// Does what an action does before the operation.
    pub(super) async fn begin(action: Option<Action>, path: &Path) -> Result<()> {
        match action {
            Some(Action::FailBefore(failure)) => return Err(failure.error(path)),
            Some(Action::Delay(time)) => tokio::time::sleep(time).await,
            Some(Action::Hang) => std::future::pending().await,
            _ => {}
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Script> {
        // A panicking predicate leaves the list of rules whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
