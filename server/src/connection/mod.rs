//! Client connections.
//!
//! ```text
//!            ┌────────────────────────── one turn of a connection's task ─────────────────────────┐
//!  socket ──►│ read ► scan all complete requests ► execute each ► replies in order ► one write     │──► socket
//!            └──────▲───────────────────────────────────────────────────────────────────────────▲─┘
//!              a part of a request waits for the rest                    what the socket does not take waits
//! ```
//!
//! A connection is one task. It reads what the client sent, executes every complete request of it and writes all
//! replies at once; only then it reads on. A client that sends 64 requests in one packet costs one read and one write.
//!
//! **Memory.** A connection that waits for its client owns no buffer: bytes are read into a buffer of the thread, and
//! only the part of a request that is not complete is kept (`input`). What a client does not read waits in its output;
//! above a limit no more of its requests are read, and when it takes nothing for a minute it is cut off. A pipelining
//! client that reads only after it sent everything therefore gets along, up to that limit.
//! What is kept after all is counted (`account`): for each client, for all of them (`maxmemory-clients`), and towards
//! `maxmemory`. A client that is over a limit of its own is cut off without a word, as in Redis.
//!
//! **Events.** Another connection's `CLIENT KILL` and the shutdown of the node wake the task; nothing is polled. On
//! shutdown a connection ends between two commands: a request that has begun to arrive is still read and answered.
//!
//! **Exceptions.** While something is paused, or the client does not want every reply, requests take a longer way
//! (`exceptions`). Whether that is so is looked up once per batch.
//!
//! **Replies that come later** (`WAIT`, walks over the keyspace) hold back the requests behind them, as a command that
//! blocks does in Redis. Meanwhile what was answered before is sent, and the end of the client is noticed.

mod accept;
mod account;
mod exceptions;
mod figures;
mod input;
mod replies;
mod stopwatch;
mod talk;
mod turn;

use std::time::Duration;

pub use accept::serve;
pub use turn::Connection;

/// How much a connection may take up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// With so many bytes not sent yet, no more requests are executed.
    pub pause_output_bytes: usize,
    /// A client that takes nothing of what waits for it is cut off after this time.
    pub stall: Duration,
    /// After its last reply a connection waits so long for the client to close, so that the reply is not lost to
    /// what the client still sent. As long may a reply take to a client that has already ended its side.
    pub linger: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { pause_output_bytes: 16 << 20, stall: Duration::from_secs(60), linger: Duration::from_secs(1) }
    }
}
