//! Pauses of background sessions that run here.
//!
//! Guarantees: `Ok` says that the word is durable, with who gave it; it holds for whoever runs the background
//! session next.

use std::sync::Arc;

use amplifier_trigger::BackgroundName;

use super::BackgroundSessionManager;
use crate::control::set_paused;
use crate::error::BackgroundError;

impl BackgroundSessionManager {
    /// Pauses a background session, durably: its triggers are listened to no more, what waits stays, what runs
    /// ends by itself. What is due meanwhile meets the misfire policy of its trigger when it goes on.
    /// True if it went on until now.
    pub async fn pause(&self, name: &BackgroundName) -> Result<bool, BackgroundError> {
        self.pause_by(name, None).await
    }

    /// The same, by somebody whose name is kept with it.
    pub async fn pause_by(&self, name: &BackgroundName, by: Option<&str>) -> Result<bool, BackgroundError> {
        let session = self.session(name)?;
        set_paused(self.host(), name, true, by).await?;
        // First: what a source says of itself from now on does not count.
        session.hush();
        Ok(session.pool.board.pause(true))
    }

    /// Lets a paused background session go on, durably. False if it was not paused.
    /// `Err`: its triggers cannot be listened to, and it stays paused here.
    pub async fn resume(&self, name: &BackgroundName) -> Result<bool, BackgroundError> {
        self.resume_by(name, None).await
    }

    /// The same, by somebody whose name is kept with it.
    pub async fn resume_by(&self, name: &BackgroundName, by: Option<&str>) -> Result<bool, BackgroundError> {
        let session = self.session(name)?;
        let config = Arc::clone(&session.pool.config);
        let built = self.build(&config)?;
        let fence = self.fence().await?;
        let triggers = self.with_rows(&config, built, &fence).await?;
        set_paused(self.host(), name, false, by).await?;
        if !session.pool.board.pause(false) {
            return Ok(false);
        }
        self.keeper()?.enter(&session.pool);
        *session.stop() = self.0.life.child();
        self.listen(&session, triggers, &fence);
        Ok(true)
    }
}
