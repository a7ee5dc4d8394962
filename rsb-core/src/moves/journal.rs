//! What the catalog remembers of moves: which were begun, how far they came, and which backends are drained.

use crate::api::{Move, MovePlan, MoveRecord, MoveReport, MoveState, MoveTask};
use crate::core::Core;
use crate::error::{Error, Result};

/// The catalog's named value that lists the moves.
pub(crate) const JOURNAL: &str = "moves";

/// All moves that are remembered, oldest first.
pub(crate) async fn list(core: &Core) -> Result<Vec<MoveRecord>> {
    let Some(text) = core.catalog.value(JOURNAL).await? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|e| {
        Error::internal(format!(
            "the catalog's list of moves cannot be read ({e}); `rsb catalog rebuild` does without it"
        ))
    })
}

async fn keep(core: &Core, moves: &[MoveRecord]) -> Result<()> {
    let text = match moves {
        [] => None,
        moves => Some(serde_json::to_string(moves).map_err(|e| Error::internal(e.to_string()))?),
    };
    core.catalog.set_value(JOURNAL, text).await
}

fn drains(record: &MoveRecord, name: &str) -> bool {
    matches!(&record.order.task, MoveTask::Drain { backend, .. } if backend == name)
}

/// Remembers that a move is begun, or finds it where it was begun before: a drain of the same backend goes on, with what
/// is said now.
pub(super) async fn begin(core: &Core, order: &Move, plan: &MovePlan, state: MoveState) -> Result<MoveRecord> {
    let mut moves = list(core).await?;
    // A second run of one that is done is a new one, and its plan the one to compare with.
    let known = moves.iter().position(|record| record.order.task.is_same(&order.task)).map(|at| moves.remove(at));
    let record = match known {
        Some(known) if known.state != MoveState::Done => MoveRecord { order: order.clone(), state, ..known },
        _ => MoveRecord {
            id: core.env.new_id().to_string(),
            order: order.clone(),
            state,
            started_ms: core.env.now_ms(),
            report: MoveReport { plan: plan.clone(), ..MoveReport::default() },
        },
    };
    moves.push(record.clone());
    keep(core, &moves).await?;
    mark(core, &moves);
    Ok(record)
}

/// Remembers how a move ended, or how far it came. Only a drain is remembered when it is done.
pub(super) async fn end(core: &Core, id: &str, report: &MoveReport, done: bool) -> Result<()> {
    let mut moves = list(core).await?;
    // It may have been cancelled meanwhile.
    let Some(at) = moves.iter().position(|record| record.id == id) else { return Ok(()) };
    moves[at].report = report.clone();
    if done {
        moves[at].state = MoveState::Done;
        if !matches!(moves[at].order.task, MoveTask::Drain { .. }) {
            moves.remove(at);
        }
    }
    keep(core, &moves).await
}

/// Forgets a move. A backend that it drained takes new writes again; what was moved stays where it is.
pub(crate) async fn cancel(core: &Core, id: &str) -> Result<MoveRecord> {
    let mut moves = list(core).await?;
    let at = moves.iter().position(|record| record.id == id).ok_or_else(|| unknown(id))?;
    let record = moves.remove(at);
    keep(core, &moves).await?;
    mark(core, &moves);
    Ok(record)
}

/// Lets a move wait, or go on.
pub(crate) async fn pause(core: &Core, id: &str, paused: bool) -> Result<MoveRecord> {
    let mut moves = list(core).await?;
    let record = moves.iter_mut().find(|record| record.id == id).ok_or_else(|| unknown(id))?;
    if record.state != MoveState::Done {
        record.state = if paused { MoveState::Paused } else { MoveState::Running };
    }
    let record = record.clone();
    keep(core, &moves).await?;
    Ok(record)
}

fn unknown(id: &str) -> Error {
    Error::not_found(format!("there is no move {id:?}; `rsb moves` lists them"))
}

/// At a start: forgets drains of backends that the config has no more, and drains the others on.
pub(crate) async fn apply(core: &Core) -> Result<()> {
    let mut moves = list(core).await?;
    let before = moves.len();
    moves.retain(|record| match &record.order.task {
        MoveTask::Drain { backend, .. } => core.backend(backend).is_some(),
        _ => true,
    });
    if moves.len() != before && !core.config.read_only {
        keep(core, &moves).await?;
    }
    mark(core, &moves);
    Ok(())
}

fn mark(core: &Core, moves: &[MoveRecord]) {
    for backend in &core.backends {
        backend.set_drained(moves.iter().any(|record| drains(record, backend.name())));
    }
}
