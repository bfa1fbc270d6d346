//! The answers that one waiting task is owed by other nodes.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// What came back for a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// It was executed; its reply.
    Executed(Bytes),
    /// It was not executed.
    NotExecuted,
    /// Its reply wants the link for large frames. It changed nothing.
    TooLarge,
    /// Nobody knows whether it was executed.
    Lost,
}

/// Where an answer belongs: the number of a request, and of the attempt to have it executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Address {
    pub(crate) request: u32,
    pub(crate) attempt: u32,
}

/// What is under way for one task, on all links together.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    task: AtomicWaker,
    arrivals: Mutex<Arrivals>,
}

#[derive(Debug, Default)]
struct Arrivals {
    answers: Vec<(Address, Answer)>,
    owed: usize,
    /// Something came that the task should look at before everything has come.
    is_urgent: bool,
}

impl Flight {
    pub(crate) fn new() -> Arc<Flight> {
        Arc::default()
    }

    /// So many answers more are owed. To be called before the requests leave.
    pub(crate) fn expect(&self, count: usize) {
        self.arrivals.lock().owed += count;
    }

    /// An answer has come. The task is woken when the last one has, or when something has to be done at once.
    pub(crate) fn arrive(&self, address: Address, answer: Answer) {
        let wakes = {
            let mut arrivals = self.arrivals.lock();
            arrivals.owed -= 1;
            arrivals.is_urgent |= !matches!(answer, Answer::Executed(_));
            arrivals.answers.push((address, answer));
            arrivals.owed == 0 || arrivals.is_urgent
        };
        if wakes {
            self.task.wake();
        }
    }

    /// There is room on a link that had none.
    pub(crate) fn nudge(&self) {
        self.arrivals.lock().is_urgent = true;
        self.task.wake();
    }

    /// Waits until there is something to do, and takes what has come.
    pub(crate) async fn arrivals(&self, taken: &mut Vec<(Address, Answer)>) {
        poll_fn(|cx| self.poll_arrivals(taken, cx)).await;
    }

    fn poll_arrivals(&self, taken: &mut Vec<(Address, Answer)>, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        let mut arrivals = self.arrivals.lock();
        if !arrivals.is_urgent && (arrivals.owed > 0 || arrivals.answers.is_empty()) {
            return Poll::Pending;
        }
        arrivals.is_urgent = false;
        taken.append(&mut arrivals.answers);
        Poll::Ready(())
    }
}
