//! A value that goes from a key of one slot to a key of another: `RENAME` and `COPY`; and `LCS`, which looks at both.
//!
//! ```text
//!   source's acting node ── .fetch ──► value, deadline, version
//!   target's acting node ◄── .store ── value, deadline          (only if the key is absent, where that is asked for)
//!   source's acting node ◄── .remove ─ version                  RENAME: only if it is still the one that was read
//! ```
//!
//! Three steps, each atomic, the whole is not: in between both keys have the value. A value that another client gives
//! the source in the meantime stays, as if it had come after the whole. The target has the value before the source
//! loses it, so a node that is lost in between never takes it along.

use std::sync::Arc;

use bytes::Bytes;
use ring::slot::Slot;

use super::{
    Call, Dispatched, Router, UNREADABLE,
    deferred::{DEADLINE_US, reply_of},
    done,
    split::integer,
};
use crate::{
    command::{
        Compares, Later, Table, Transfers,
        key::{FETCH, Fetched, NO_SUCH_KEY, REMOVE, STORE, TAKE, Transfer, encode_version},
    },
    forward::{Terms, Work, pursue},
    resp::{Output, OwnedRequest, Protocol, Reply, array_elements},
    session::{Mode, Session},
};

const HALF_DONE: Reply<'static> =
    Reply::error("INDETERMINATE the new key has the value, but it is not known whether the old one is gone");

/// A transfer on its way.
struct Way {
    router: Arc<Router>,
    request: OwnedRequest,
    mode: Mode,
    client: u64,
}

impl Router {
    /// A request that takes a value from one slot to another.
    pub(super) fn between_slots(
        self: &Arc<Self>,
        session: &mut Session,
        call: &Call<'_>,
        asked: Transfers,
        out: &mut Output,
    ) -> Dispatched {
        match asked(&call.request, call.mode.access().databases) {
            Err(error) => done(error, session, out),
            Ok(transfer) => {
                self.note_writes(session, call.command, &call.request);
                Dispatched::Later(self.transfer(call, transfer, session.client().id()))
            }
        }
    }

    /// A request about the values of two keys.
    pub(super) fn compare(self: &Arc<Self>, session: &Session, call: &Call<'_>, compare: Compares) -> Dispatched {
        let way = self.way(call, session.client().id());
        Dispatched::Later(Box::pin(async move {
            let request = way.request.as_request();
            let (one, other) = tokio::join!(way.fetch(request.arg(1)), way.fetch(request.arg(2)));
            match (one, other) {
                (Ok(one), Ok(other)) => {
                    let value = |fetched: Option<(Fetched, Bytes)>| fetched.map_or(Bytes::new(), |(_, value)| value);
                    compare(&request, &value(one), &value(other))
                }
                (Err(error), _) | (_, Err(error)) => error,
            }
        }))
    }

    fn way(self: &Arc<Self>, call: &Call<'_>, client: u64) -> Way {
        // What nodes say to each other is read here, whatever the client speaks.
        let mode = Mode { protocol: Protocol::Resp2, ..call.mode };
        Way { router: self.clone(), request: call.request.to_owned(), mode, client }
    }

    /// Takes the value of the first key of a request to its second one, which is of another slot.
    fn transfer(self: &Arc<Self>, call: &Call<'_>, transfer: Transfer, client: u64) -> Later {
        let way = self.way(call, client);
        Box::pin(async move { way.go(transfer).await.unwrap_or_else(|error| error) })
    }
}

impl Way {
    async fn go(&self, transfer: Transfer) -> Result<Reply<'static>, Reply<'static>> {
        let request = self.request.as_request();
        let (source, target) = (request.arg(1), request.arg(2));
        let Some((fetched, value)) = self.fetch(source).await? else {
            return Ok(if transfer.moves { NO_SUCH_KEY } else { Reply::Integer(0) });
        };
        let is_stored = self.store(target, fetched, &value, transfer).await?;
        if !transfer.moves {
            return Ok(Reply::Integer(i64::from(is_stored)));
        }
        let version = encode_version(fetched.version);
        match self.ask(self.mode, &[REMOVE.as_bytes(), source, &version]).await {
            Ok(_) => Ok(Reply::OK),
            Err(_) => Err(HALF_DONE),
        }
    }

    async fn fetch(&self, key: &[u8]) -> Result<Option<(Fetched, Bytes)>, Reply<'static>> {
        let reply = self.ask(self.mode, &[FETCH.as_bytes(), key]).await?;
        if reply == b"$-1\r\n"[..] {
            return Ok(None);
        }
        let parts = array_elements(&reply).and_then(|parts| <[Reply<'_>; 2]>::try_from(parts).ok());
        if let Some([Reply::Shared(known), Reply::Shared(value)]) = parts
            && let Some(fetched) = Fetched::decode(&known)
        {
            return Ok(Some((fetched, value)));
        }
        Err(UNREADABLE)
    }

    async fn store(
        &self,
        key: &[u8],
        fetched: Fetched,
        value: &[u8],
        transfer: Transfer,
    ) -> Result<bool, Reply<'static>> {
        let mode = Mode { database: transfer.database.unwrap_or(self.mode.database), ..self.mode };
        let (kind, deadline) = ((fetched.kind as u8).to_string(), fetched.deadline.to_string());
        let name = if transfer.moves { TAKE } else { STORE };
        let arguments = [name.as_bytes(), key, kind.as_bytes(), deadline.as_bytes(), value, b"absent"];
        let count = if transfer.replaces { 5 } else { 6 };
        let reply = self.ask(mode, &arguments[..count]).await?;
        integer(&reply).map(|stored| stored == 1).ok_or(UNREADABLE)
    }

    /// Has a request executed where the slot of its key acts; its reply, if that is no error.
    async fn ask(&self, mode: Mode, arguments: &[&[u8]]) -> Result<Bytes, Reply<'static>> {
        let (_, command) = Table::of_links().find(arguments[0]).expect("nodes know what they ask each other for");
        let mut work = Work::default();
        let number = work.push(Slot::of(arguments[1]), command, mode, arguments.iter().copied());
        let deadline_us = self.router.services.clock.monotonic_us() + DEADLINE_US;
        pursue(&self.router, &mut work, Terms { hops: 0, deadline_us, client: self.client }).await;
        match reply_of(&self.router, &mut work, number).await {
            Reply::Encoded(bytes) if bytes.first() != Some(&b'-') => Ok(bytes),
            error => Err(error),
        }
    }
}
