//! What a connection takes up: told to whoever keeps count of it, and held against the limits.
//!
//! A connection that waits for its client owns no buffer, so in the usual turn nothing has changed and nobody is told.

use std::{pin::Pin, sync::Arc, task::Context, time::Duration};

use tokio::time::{Sleep, sleep};

use super::{input::Input, talk::Talk};
use crate::{
    clients::{Buffers, Client, Limits},
    router::{Router, Services},
    services::{Ended, Tally},
};

/// So much of the output does not count against its limits, as the fixed buffer of a client does not in Redis.
const UNCOUNTED_OUTPUT_BYTES: usize = 16 << 10;

/// So much more may wait for a client that has not given the password.
const STRANGERS_OUTPUT_BYTES: usize = 1 << 10;

/// What a connection takes up, as others know it. They forget it when this is dropped.
pub(super) struct Account {
    client: Arc<Client>,
    router: Arc<Router>,
    noted: Buffers,
    /// What it takes up without its buffers.
    fixed_bytes: i64,
    /// Ends when the output has been above the soft limit for as long as it may.
    soft: Option<Pin<Box<Sleep>>>,
}

impl Account {
    /// The account of a connection that takes up this much without its buffers.
    pub(super) fn new(client: Arc<Client>, router: Arc<Router>, fixed_bytes: usize) -> Account {
        client.note_fixed(fixed_bytes);
        let fixed_bytes = client.memory_bytes() as i64;
        router.services().clients.note_memory(fixed_bytes);
        Account { noted: client.buffers(), client, router, fixed_bytes, soft: None }
    }

    /// Whether so many replies wait that the connection has to end at once.
    #[inline]
    pub(super) fn is_over_hard_limit(&self, talk: &mut Talk) -> bool {
        let bytes = talk.waiting_bytes().saturating_sub(UNCOUNTED_OUTPUT_BYTES);
        (bytes > 0 || talk.output().is_cut()) && self.is_over(bytes, talk)
    }

    #[cold]
    fn is_over(&self, bytes: usize, talk: &mut Talk) -> bool {
        let settings = &*self.router.services().settings;
        let hard_bytes = settings.client_limits().hard_output_bytes();
        let is_over = hard_bytes != 0 && bytes as u64 >= hard_bytes
            || talk.output().is_cut()
            || bytes > STRANGERS_OUTPUT_BYTES && talk.session().is_stranger(settings);
        if is_over {
            self.give_up(talk, bytes);
        }
        is_over
    }

    /// Looks at the buffers. Whether the connection has to end, because they are larger than they may be.
    #[inline]
    pub(super) fn is_over_limit(&mut self, input: &Input, talk: &mut Talk, cx: &mut Context<'_>) -> bool {
        let mut buffers = talk.buffers();
        (buffers.input_bytes, buffers.input_capacity) = (input.len(), input.memory_bytes());
        if buffers == self.noted && self.soft.is_none() {
            return false;
        }
        self.note(buffers);
        self.is_input_too_long(buffers.input_bytes, talk) || self.is_over_soft_limit(talk, cx)
    }

    #[cold]
    fn note(&mut self, buffers: Buffers) {
        let change = buffers.memory() as i64 - self.noted.memory() as i64;
        self.noted = buffers;
        self.client.note_buffers(&buffers);
        self.tell(change);
        if change > 0 {
            end_the_largest(self.router.services());
        }
    }

    fn is_input_too_long(&self, bytes: usize, talk: &mut Talk) -> bool {
        let is_too_long = bytes > 0 && bytes > talk.session().max_input_bytes(&*self.router.services().settings);
        if is_too_long {
            talk.end_for_its_request();
        }
        is_too_long
    }

    fn is_over_soft_limit(&mut self, talk: &mut Talk, cx: &mut Context<'_>) -> bool {
        let limits = self.router.services().settings.client_limits();
        let (soft_bytes, bytes) =
            (limits.soft_output_bytes(), talk.waiting_bytes().saturating_sub(UNCOUNTED_OUTPUT_BYTES));
        if soft_bytes == 0 || (bytes as u64) < soft_bytes {
            self.soft = None;
            return false;
        }
        let time = || Duration::from_secs(limits.all().output[0].soft_secs.into());
        let is_over = self.soft.get_or_insert_with(|| Box::pin(sleep(time()))).as_mut().poll(cx).is_ready();
        if is_over {
            self.give_up(talk, bytes);
        }
        is_over
    }

    fn give_up(&self, talk: &mut Talk, bytes: usize) {
        if let Some(unsaid) = self.router.services().clients.may_say_disconnected() {
            tracing::info!(client = self.client.id(), bytes, unsaid, "disconnected: too much waits for it");
        }
        talk.record_rest(Ended { output: 1, ..Ended::default() });
    }

    /// Buffers count towards the limit of memory of the node.
    fn tell(&self, change: i64) {
        if change != 0 {
            self.router.services().clients.note_memory(change);
            self.router.note_client_memory(change);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.client.note_buffers(&Buffers::default());
        self.router.services().clients.note_memory(-self.fixed_bytes);
        self.tell(-(self.noted.memory() as i64));
    }
}

/// With more waiting for it than this a client is disconnected at once; 0: no limit.
#[inline]
pub(super) fn hard_output_bytes(limits: &Limits) -> usize {
    match limits.hard_output_bytes() as usize {
        0 => 0,
        bytes => bytes.saturating_add(UNCOUNTED_OUTPUT_BYTES),
    }
}

/// Disconnects the clients that take up most, if all together take up more than they may.
pub(super) fn end_the_largest(services: &Services) {
    let limit_bytes = services.settings.max_client_memory_bytes();
    if limit_bytes > 0 && services.clients.memory_bytes() > limit_bytes {
        let ended = Ended { evicted: services.clients.evict(limit_bytes), ..Ended::default() };
        services.statistics.record(&Tally { ended, ..Tally::default() });
    }
}
