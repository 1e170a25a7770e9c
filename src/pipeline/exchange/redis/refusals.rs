//! Commands that Redis refuses, although it is there and well: what it says, and whether the log was told.

use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Instant;

use redis::RedisError;

use crate::config;
use crate::pipeline::exchange::redis::told::Told;

/// A command was refused, and none has fared better since; or that is not so.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    cause: Option<String>,
    told: Told,
}

impl Refusals {
    /// What Redis said last, if it refuses what we ask.
    pub fn cause(&self) -> Option<String> {
        self.state().cause.clone()
    }

    /// Says once that Redis does again what it refused: a lease takes both reading and writing.
    pub fn end(&self) {
        let mut state = self.state();
        if state.cause.take().is_some() {
            state.told.forget();
            drop(state);
            tracing::info!("Redis refuses no command any more");
        }
    }

    /// Says that Redis refuses what we ask: when that begins, and when it goes on for another cause.
    pub fn tell(&self, error: &RedisError, settings: &config::Redis, now: Instant) {
        let cause = error.to_string();
        let mut state = self.state();
        state.cause = Some(cause.clone());
        if state.told.is_news(&cause, now) {
            drop(state);
            tracing::warn!(
                server = settings.servers(),
                cause,
                "Redis refuses a command; is it full, or may this user not read and write obo:*?"
            );
        }
    }

    /// Each change under this lock is whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
