//! What the connections of one listener go through: the pipeline in use, which a reload replaces between two requests.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;

use crate::config::Limits;
use crate::domain::name::Name;
use crate::pipeline::Pipeline;
use crate::pipeline::accept::Drain;

/// What the connections of one listener share.
pub struct Gate {
    listener: Name,
    limits: Mutex<Limits>,
    /// One for each worker: what one reads all the time no other writes to.
    pipelines: Vec<Arc<ArcSwap<Pipeline>>>,
    drain: Drain,
}

impl Gate {
    /// A gate for the listener of that name; each worker has a pipeline of its own.
    pub fn new(listener: Name, limits: Limits, pipelines: &[Arc<Pipeline>]) -> Self {
        let slot = |pipeline: &Arc<Pipeline>| Arc::new(ArcSwap::new(pipeline.clone()));
        let pipelines = pipelines.iter().map(slot).collect();
        Self { listener, limits: Mutex::new(limits), pipelines, drain: Drain::new() }
    }

    /// Whose connections these are.
    pub fn listener(&self) -> &Name {
        &self.listener
    }

    /// From now on every request goes through these pipelines, and every new connection has these limits.
    pub fn lead_to(&self, pipelines: &[Arc<Pipeline>], limits: Limits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        for (slot, pipeline) in self.pipelines.iter().zip(pipelines) {
            slot.store(pipeline.clone());
        }
    }

    /// What the next request on that worker goes through, now and later.
    pub fn pipeline(&self, worker: usize) -> Option<Arc<ArcSwap<Pipeline>>> {
        self.pipelines.get(worker).cloned()
    }

    /// What the next connection may do.
    pub fn limits(&self) -> Limits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings its connections to an end.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }
}
