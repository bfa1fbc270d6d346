//! Commands about the connection, the node or the whole keyspace: what they may use, and what they answer.

use std::{pin::Pin, sync::Arc};

use crate::{resp::Reply, router::Router, session::Session};

/// What such a command may use.
pub struct Context<'a> {
    /// The keyspace, and through it the services of the node.
    pub router: &'a Arc<Router>,
    /// The connection that asks.
    pub session: &'a mut Session,
}

/// What such a command answers.
pub enum Answer<'a> {
    /// The reply.
    Now(Reply<'a>),
    /// The reply will come.
    Later(Later),
    /// The reply will come, and `CLIENT UNBLOCK` can bring it on.
    Blocked(Box<Blocked>),
    /// There is no reply.
    Nothing,
}

impl<'a> From<Reply<'a>> for Answer<'a> {
    fn from(reply: Reply<'a>) -> Answer<'a> {
        Answer::Now(reply)
    }
}

/// A command that blocks.
pub struct Blocked {
    /// Its reply.
    pub reply: Later,
    /// Its reply if its time were over now.
    pub when_over: Box<dyn FnOnce() -> Later + Send>,
    /// Whether it waits up to a time, not for ever.
    pub has_time: bool,
}

/// A reply that will come. The requests behind it wait for it, as behind a command that blocks in Redis.
pub type Later = Pin<Box<dyn Future<Output = Reply<'static>> + Send>>;
