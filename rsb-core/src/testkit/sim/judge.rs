//! Compares what callers were told with what the model allows, and takes it into the model.

use super::act::{Planned, Told, says_nothing_happened};
use super::history::{Condition, LAST_KEYS, Op};
use super::model::{Change, Model, Value, name};
use crate::ErrorKind;
use crate::catalog::Precondition;

/// A promise that was broken: a sentence.
pub(super) type Broken = String;

/// How strict reads are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strictness {
    /// Every acknowledged object must be read: no more backends are ill than it survives.
    pub reads: bool,
    /// The history is sure: what is seen is the newest.
    pub history: bool,
}

/// What was changed of which keys.
type Changes = Vec<(usize, Change)>;

/// An operation and what its caller was told; `None`: the process died first.
pub(super) type Tale = (Planned, Option<Told>);

/// Of writes on the same condition that go on at once one wins.
fn judge_winners(tales: &[Tale], changes: &[(usize, Change)]) -> Result<(), Broken> {
    let mut winners: Vec<(usize, &Precondition)> = Vec::new();
    for (planned, told) in tales {
        let (Op::Put { key, .. }, Some(Told::Written(..))) = (&planned.op, told) else { continue };
        let deletes = |(of, change): &(usize, Change)| {
            of == key && !matches!(change, Change::Nothing | Change::Acknowledged(Some(_), _) | Change::Open(Some(_)))
        };
        let again = match &planned.precondition {
            Precondition::None => true,
            Precondition::Absent => changes.iter().any(deletes),
            _ => false,
        };
        if again {
            continue;
        }
        if winners.contains(&(*key, &planned.precondition)) {
            return Err(format!("two writes of {} on the condition {:?} won", name(*key).1, planned.precondition));
        }
        winners.push((*key, &planned.precondition));
    }
    Ok(())
}

impl Model {
    /// Judges the operations of one step, which went on at the same time, and takes them in.
    pub fn settle(&mut self, step: usize, tales: &[Tale], strict: Strictness) -> Result<(), Broken> {
        let is_copy = |tale: &&Tale| matches!(tale.0.op, Op::Copy { .. });
        let mut changes: Changes =
            tales.iter().filter(|tale| !is_copy(tale)).flat_map(|tale| self.changes_of(tale, &[])).collect();
        // A copy may be one of another copy.
        for _ in 0..2 {
            let copied: Changes =
                tales.iter().filter(is_copy).flat_map(|tale| self.changes_of(tale, &changes)).collect();
            changes.extend(copied);
        }
        let before = self.clone();
        for (planned, told) in tales {
            let Some(told) = told else { continue };
            if let Told::Failed(ErrorKind::Internal, message) = told {
                return Err(format!("{:?} ended with an internal error: {message}", planned.op));
            }
            before.judge(planned, told, &changes, strict)?;
        }
        if strict.history {
            judge_winners(tales, &changes)?;
        }
        for key in 0..super::history::KEYS {
            let of_key: Vec<Change> =
                changes.iter().filter(|(k, _)| *k == key).map(|(_, change)| change.clone()).collect();
            self.change(key, step, &of_key);
        }
        Ok(())
    }

    /// What an operation has changed, as far as its caller knows.
    fn changes_of(&self, (planned, told): &Tale, others: &[(usize, Change)]) -> Changes {
        let (key, values) = match &planned.op {
            Op::Put { key, .. } | Op::Multipart { key, abort: false, .. } => (*key, vec![planned.value]),
            // A copy whose end is not known has one of the values of its source.
            Op::Copy { from, to } => (*to, self.visible(*from, others).into_iter().flatten().map(Some).collect()),
            Op::Delete { key } | Op::DeleteVersion { key, .. } => (*key, vec![None]),
            _ => return Vec::new(),
        };
        let change = match (told, planned.version) {
            (Some(Told::Written(id, value)), _) => Change::Acknowledged(*value, Some(*id)),
            (Some(Told::Deleted(false, None)), None) => Change::Nothing,
            (Some(Told::Deleted(..)), Some(version)) => Change::VersionGone(version),
            (Some(Told::Deleted(_, marker)), None) => Change::Acknowledged(None, *marker),
            (Some(Told::Failed(kind, _)), _) if says_nothing_happened(*kind) => Change::Nothing,
            (Some(Told::Done), _) => Change::Nothing,
            (_, Some(version)) => Change::VersionPerhapsGone(version),
            _ => return values.into_iter().map(|value| (key, Change::Open(value))).collect(),
        };
        vec![(key, change)]
    }

    /// What a reader of the newest may see while these changes go on.
    fn visible(&self, key: usize, changes: &[(usize, Change)]) -> Vec<Option<Value>> {
        let mut out = self.newest(key);
        for (_, change) in changes.iter().filter(|(k, _)| *k == key) {
            match change {
                Change::Nothing => {}
                Change::Acknowledged(value, _) | Change::Open(value) => out.push(*value),
                Change::VersionGone(_) | Change::VersionPerhapsGone(_) => {
                    out.extend(self.all[key - LAST_KEYS].versions.values());
                    out.push(None);
                }
            }
        }
        out
    }

    fn judge(
        &self,
        planned: &Planned,
        told: &Told,
        changes: &[(usize, Change)],
        strict: Strictness,
    ) -> Result<(), Broken> {
        match &planned.op {
            Op::Get { key, .. } => {
                let reads = strict.reads && !self.is_open(*key);
                self.judge_read(*key, &self.visible(*key, changes), told, Strictness { reads, ..strict })
            }
            Op::GetVersion { key, .. } => self.judge_version(*key, planned, told, changes, strict),
            Op::Put { key, condition, .. } => self.judge_condition(*key, *condition, planned, told, changes, strict),
            Op::List => {
                let Told::Listed(listed) = told else { return Ok(()) };
                for key in (0..super::history::KEYS).filter(|_| strict.history) {
                    let visible = self.visible(key, changes);
                    let is_listed = listed.contains(&name(key).1);
                    if !visible.iter().any(|value| value.is_some() == is_listed) {
                        return Err(format!(
                            "{} listed although it may only be {visible:?}",
                            if is_listed { name(key).1 } else { format!("{} is not", name(key).1) }
                        ));
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Judges a read of the newest.
    pub fn judge_read(
        &self,
        key: usize,
        visible: &[Option<Value>],
        told: &Told,
        strict: Strictness,
    ) -> Result<(), Broken> {
        let label = name(key).1;
        match told {
            Told::Read(_, value, start, bytes) => {
                let start = *start as usize;
                if value.bytes().get(start..start + bytes.len()) != Some(bytes) {
                    return Err(format!("{label}: {} bytes from {start} are not those of {value:?}", bytes.len()));
                }
                if strict.history && !visible.contains(&Some(*value)) {
                    return Err(format!("{label}: {value:?} was read, and only {visible:?} may be seen"));
                }
                Ok(())
            }
            Told::Failed(ErrorKind::NotFound, message) if strict.history && !visible.contains(&None) => {
                Err(format!("{label} is not found ({message}), and only {visible:?} may be seen"))
            }
            // A catalog that is being made anew says so; who reads alone waits for it.
            Told::Failed(ErrorKind::Unavailable, message) if message.contains("is being rebuilt") => Ok(()),
            Told::Failed(ErrorKind::Unreadable | ErrorKind::Unavailable, message) if strict.reads => {
                Err(format!("{label} cannot be read, although too few backends are ill for that: {message}"))
            }
            _ => Ok(()),
        }
    }

    fn judge_version(
        &self,
        key: usize,
        planned: &Planned,
        told: &Told,
        changes: &[(usize, Change)],
        strict: Strictness,
    ) -> Result<(), Broken> {
        let (all, Some(id)) = (&self.all[key - LAST_KEYS], planned.version) else { return Ok(()) };
        let may_go = changes
            .iter()
            .any(|(_, c)| matches!(c, Change::VersionGone(gone) | Change::VersionPerhapsGone(gone) if *gone == id));
        let expected = all.versions.get(&id).copied().flatten();
        let mut visible = vec![expected];
        if may_go || all.perhaps_gone.contains(&id) {
            visible.push(None);
        }
        self.judge_read(key, &visible, told, strict)
    }

    fn judge_condition(
        &self,
        key: usize,
        condition: Condition,
        planned: &Planned,
        told: &Told,
        changes: &[(usize, Change)],
        strict: Strictness,
    ) -> Result<(), Broken> {
        if planned.precondition == Precondition::None || !strict.history {
            return Ok(());
        }
        // What the others of this step do may come first; what it writes itself cannot fulfil its own condition.
        let own = planned.value;
        let mut others: Vec<Option<Value>> = self.visible(key, changes);
        others.retain(|value| value.is_none() || *value != own);
        let absent = condition == Condition::Absent;
        match told {
            Told::Written(..) if absent && !others.contains(&None) => Err(format!(
                "{} was written on the condition that it is absent, and it may only be {others:?}",
                name(key).1
            )),
            Told::Failed(ErrorKind::PreconditionFailed, _) if absent && !others.iter().any(Option::is_some) => {
                Err(format!("{} was refused as it exists, and it does not", name(key).1))
            }
            _ => Ok(()),
        }
    }
}
