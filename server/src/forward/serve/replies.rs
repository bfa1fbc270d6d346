//! Replies on their way back over a link, with bounds on what waits.

use std::{io, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::AsyncWriteExt,
    net::tcp::OwnedWriteHalf,
    sync::{Notify, watch},
};

use super::super::frame::{MAX_FRAME_BYTES, Status, reply_head};
use crate::{
    forward::whole::Swept,
    resp::{Output, Protocol, Reply},
};

/// With so many bytes of replies not sent, or of requests in tasks, nothing more is read.
pub(super) const MAX_BYTES: usize = 64 << 20;

/// Replies on their way back.
#[derive(Default)]
pub(super) struct Replies {
    pub(super) state: Mutex<Waiting>,
    pub(super) written: Notify,
    room: Notify,
    /// No more requests come.
    finished: watch::Sender<bool>,
}

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) output: Output,
    /// Requests in tasks, and their bytes.
    tasks: usize,
    task_bytes: usize,
    is_broken: bool,
}

impl Replies {
    pub(super) fn push(&self, id: u32, status: Status, body: Output) {
        let mut reply = Output::default();
        // Outside of the lock: its check takes a while if it is large.
        append(&mut reply, id, status, body);
        self.state.lock().output.append(reply);
        self.written.notify_one();
    }

    pub(super) fn finish(&self) {
        self.finished.send_replace(true);
        self.written.notify_one();
    }

    /// Waits until no more requests come.
    pub(super) async fn until_finished(&self) {
        // It fails only when the sender is gone, which is part of this.
        let _ = self.finished.subscribe().wait_for(|is_finished| *is_finished).await;
    }

    pub(super) fn begin_task(self: &Arc<Self>, bytes: usize) -> Task {
        let mut state = self.state.lock();
        state.tasks += 1;
        state.task_bytes += bytes;
        Task { replies: self.clone(), bytes }
    }

    pub(super) async fn write(self: Arc<Self>, mut output: OwnedWriteHalf) -> io::Result<()> {
        let result = self.write_all(&mut output).await;
        self.state.lock().is_broken = true;
        self.room.notify_one();
        result
    }

    async fn write_all(&self, output: &mut OwnedWriteHalf) -> io::Result<()> {
        loop {
            let (mut ready, is_over) = {
                let mut state = self.state.lock();
                (std::mem::take(&mut state.output), *self.finished.borrow() && state.tasks == 0)
            };
            if ready.is_empty() && is_over {
                return output.shutdown().await;
            }
            if ready.is_empty() {
                self.written.notified().await;
                continue;
            }
            while !ready.is_empty() {
                let count = match ready.as_single() {
                    Some(bytes) => output.write(bytes).await?,
                    None => {
                        let mut slices = [io::IoSlice::new(&[]); 64];
                        let count = ready.slices(&mut slices);
                        output.write_vectored(&slices[..count]).await?
                    }
                };
                if count == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                ready.advance(count);
            }
            self.room.notify_one();
        }
    }

    /// Waits until so little waits that more may be read.
    pub(super) async fn until_room(&self) -> io::Result<()> {
        loop {
            {
                let state = self.state.lock();
                if state.is_broken {
                    return Err(io::ErrorKind::BrokenPipe.into());
                }
                if state.output.len() < MAX_BYTES && state.task_bytes < MAX_BYTES {
                    return Ok(());
                }
            }
            self.room.notified().await;
        }
    }
}

/// A task that will answer, as long as it lives.
pub(super) struct Task {
    pub(super) replies: Arc<Replies>,
    bytes: usize,
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut state = self.replies.state.lock();
        state.tasks -= 1;
        state.task_bytes -= self.bytes;
        drop(state);
        self.replies.written.notify_one();
        self.replies.room.notify_one();
    }
}

pub(super) fn append(output: &mut Output, id: u32, status: Status, body: Output) {
    let body = fitting(body, false);
    output.raw(&reply_head(id, status, &body));
    output.append(body);
}

/// The body of a reply, or an error if no frame can hold it.
pub(super) fn fitting(body: Output, is_whole: bool) -> Output {
    const TOO_LARGE: Reply<'static> = Reply::error("ERR the reply is larger than another node can pass on");
    if body.len() <= MAX_FRAME_BYTES - 64 {
        return body;
    }
    let mut error = Output::default();
    match is_whole {
        true => Swept::failed(TOO_LARGE).encode(&mut error),
        false => error.reply(TOO_LARGE, Protocol::Resp2),
    }
    error
}
