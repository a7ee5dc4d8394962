//! What every request shares.

use std::sync::Arc;
use std::time::Duration;

use rsb_core::{Engine, Env};
use tokio_util::sync::CancellationToken;

use crate::GatewayError;
use crate::auth::Guard;
use crate::classes::Classes;
use crate::config::{GatewayConfig, Limits, MetricsRender, PrototypeMode};
use crate::jobs::Jobs;

/// What every request shares.
pub(crate) struct App {
    /// The repository. Handlers reach it through [`crate::call::Call::allow`], which asks for a right.
    engine: Engine,
    pub(crate) guard: Guard,
    pub(crate) jobs: Jobs,
    pub(crate) limits: Limits,
    pub(crate) env: Env,
    pub(crate) metrics_render: Option<MetricsRender>,
    pub(crate) prototype: PrototypeMode,
    pub(crate) prototype_bucket: String,
    /// See [`GatewayConfig::s3_domains`] and [`GatewayConfig::region`].
    pub(crate) s3_domains: Vec<String>,
    pub(crate) region: Option<String>,
    pub(crate) classes: Arc<Classes>,
    pub(crate) lifecycle_every: Duration,
    /// The gateway is shutting down: replies without an end come to theirs.
    pub(crate) stopping: CancellationToken,
}

impl App {
    /// `Config` where a storage class cannot be.
    pub(crate) fn new(engine: Engine, config: GatewayConfig) -> Result<Self, GatewayError> {
        let classes = Arc::new(Classes::new(config.storage_classes.clone(), &engine)?);
        Ok(Self {
            engine,
            guard: Guard::new(&config),
            jobs: Jobs::new(config.limits.max_running_jobs, config.limits.max_ended_jobs),
            limits: config.limits,
            env: config.env,
            metrics_render: config.metrics_render,
            prototype: config.prototype,
            prototype_bucket: config.prototype_bucket,
            s3_domains: config.s3_domains,
            region: config.region,
            classes,
            lifecycle_every: config.lifecycle_every,
            stopping: CancellationToken::new(),
        })
    }

    /// The engine, for what needs no right: health, metrics, upkeep.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}
