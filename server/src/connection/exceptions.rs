//! Requests that are not simply executed and answered: those that wait for the end of a pause, and those whose replies
//! the client does not want.

use std::{
    mem::{replace, take},
    pin::Pin,
    task::Context,
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::talk::Talk;
use crate::{
    clients::{Paused, Waits},
    command::{Command, Flags},
    resp::Request,
    services::Tally,
};

/// A request that waits for the end of a pause.
pub(super) struct Postponed {
    /// What was paused when it began to wait.
    by: Paused,
    timer: Pin<Box<Sleep>>,
}

impl Talk {
    /// Whether requests are simply executed and answered.
    #[inline]
    pub(super) fn is_usual(&self) -> bool {
        self.paused == Paused::Nothing && self.session.answers_all()
    }

    /// Whether what is answered now reaches the client.
    pub(super) fn is_answered(&mut self) -> bool {
        if !self.session.answers_all() {
            self.session.begin_request(false);
        }
        self.session.answers()
    }

    /// Executes a request while something is paused or the client does not want every reply. Whether it did not have to
    /// wait.
    #[cold]
    pub(super) fn execute_unusual(
        &mut self,
        request: &Request<'_>,
        is_behind_nothing: bool,
        now_unix_ms: u64,
        tally: &mut Tally,
    ) -> bool {
        if self.paused > Paused::Nothing && self.has_to_wait(request) {
            return false;
        }
        if !self.session.answers_all() {
            self.session.begin_request(is_behind_nothing);
        }
        if self.session.answers() {
            self.execute_one(request, now_unix_ms, tally);
        } else {
            self.execute_silently(request, now_unix_ms, tally);
        }
        true
    }

    /// Executes a request and throws its reply away, unless it is one after which the client wants replies.
    fn execute_silently(&mut self, request: &Request<'_>, now_unix_ms: u64, tally: &mut Tally) {
        let (said, places) = (self.output.take(), self.held.len());
        self.execute_one(request, now_unix_ms, tally);
        let reply = replace(&mut self.output, said);
        if let Some(held) = self.held.get_mut(places) {
            held.is_silent = true;
            held.before = self.output.take();
            self.held_bytes += held.before.len();
        } else if let Some(later) = &mut self.later {
            later.is_silent = true;
        } else if self.session.answers() {
            self.output.append(reply);
        }
    }

    /// Whether the request has to wait for the end of the pause. What would be refused anyway is refused at once.
    fn has_to_wait(&mut self, request: &Request<'_>) -> bool {
        let services = self.router.services();
        let Some((by, left_us)) = services.clients.paused_at(services.clock.monotonic_us()) else {
            self.paused = Paused::Nothing;
            return false;
        };
        let Ok((number, command)) = self.router.table().meant(request) else { return false };
        if by == Paused::Writes && !may_write(command) || self.router.refusal(&self.session, command, request).is_some()
        {
            return false;
        }
        let client = self.session.client();
        client.note_command(number);
        client.wait_for(Waits::Paused);
        self.last_command = Some(number);
        self.postponed = Some(Postponed { by, timer: timer(left_us) });
        true
    }

    /// Looks whether the pause is over.
    pub(super) fn poll_pause(&mut self, cx: &mut Context<'_>) {
        let Some(postponed) = &mut self.postponed else { return };
        let services = self.router.services();
        loop {
            match services.clients.paused_at(services.clock.monotonic_us()) {
                // It may last longer than it did, or shorter: a pause may have ended and another begun.
                Some((by, left_us)) if by >= postponed.by => postponed.timer = timer(left_us),
                _ => break,
            }
            if postponed.timer.as_mut().poll(cx).is_pending() {
                return;
            }
        }
        self.postponed = None;
        self.session.client().wait_for(Waits::Not);
    }

    /// Keeps the line of an inline command that comes next: it is changed when it is scanned, and is scanned again if it
    /// has to wait.
    pub(super) fn keep_line(&mut self, is_inline: bool, bytes: &[u8]) {
        self.line.clear();
        if is_inline && let Some(end) = memchr::memchr(b'\n', bytes) {
            self.line.extend_from_slice(&bytes[..end]);
        }
    }

    /// The inline command that these bytes begin with is to be scanned again.
    pub(super) fn restore_line(&mut self, bytes: &mut [u8]) {
        let line = take(&mut self.line);
        bytes[..line.len()].copy_from_slice(&line);
    }
}

fn timer(left_us: u64) -> Pin<Box<Sleep>> {
    Box::pin(sleep(Duration::from_micros(left_us)))
}

/// Whether a command waits while writes are paused.
fn may_write(command: &Command) -> bool {
    command.flags.contains(Flags::WRITE)
}
