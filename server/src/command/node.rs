//! Commands about the connection, the node or the whole keyspace: what they may use, and what they answer.

use std::{pin::Pin, sync::Arc};

use super::{NodeCommand, client, cluster, config, connection, describe, server};
use crate::{
    resp::{Reply, Request},
    router::Router,
    session::Session,
};

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
}

impl<'a> From<Reply<'a>> for Answer<'a> {
    fn from(reply: Reply<'a>) -> Answer<'a> {
        Answer::Now(reply)
    }
}

/// A reply that will come. The requests behind it wait for it, as behind a command that blocks in Redis.
pub type Later = Pin<Box<dyn Future<Output = Reply<'static>> + Send>>;

impl NodeCommand {
    /// Runs it. Its arity was checked.
    pub(crate) fn run<'a>(self, context: &mut Context<'_>, request: &Request<'a>) -> Answer<'a> {
        match self {
            NodeCommand::Asking => cluster::asking(context).into(),
            NodeCommand::Auth => connection::auth(context, request).into(),
            NodeCommand::Client => client::client(context, request).into(),
            NodeCommand::Cluster => cluster::cluster(context, request).into(),
            NodeCommand::Command => describe::command(context, request).into(),
            NodeCommand::Config => config::config(context, request).into(),
            NodeCommand::Echo => Reply::Bulk(request.arg(1)).into(),
            NodeCommand::Hello => connection::hello(context, request).into(),
            NodeCommand::Info => server::info(context, request).into(),
            NodeCommand::Ping => connection::ping(request).into(),
            NodeCommand::Quit => connection::quit(context).into(),
            NodeCommand::ReadOnly => cluster::read_only(context, true).into(),
            NodeCommand::ReadWrite => cluster::read_only(context, false).into(),
            NodeCommand::Reset => connection::reset(context).into(),
            NodeCommand::Select => connection::select(request).into(),
            NodeCommand::Time => server::time(context).into(),
            NodeCommand::Wait => server::wait(context, request),
        }
    }
}
