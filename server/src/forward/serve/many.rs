//! A request of another node about many slots.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use ring::{slot::SLOTS, slot_set::SlotSet};

use super::scan;
use crate::{
    command::{Command, Run},
    forward::{
        frame::{Head, Kind, Malformed, Status},
        tell::Question,
        whole::WholeRequest,
    },
    resp::{Output, Request, Span},
    router::Router,
};

/// A request about many slots.
pub(super) enum Whole {
    Sweep { slots: SlotSet, request: Parsed },
    Scan { cursor: u64, request: Parsed },
    Wait { wanted: usize, slots: SlotSet },
    Verify { slots: SlotSet },
    Tell { question: Question },
}

/// A request with the bytes that it lies in.
pub(super) struct Parsed {
    command: &'static Command,
    bytes: BytesMut,
    spans: Vec<Span>,
}

impl Whole {
    pub(super) fn read(head: Head, mut body: Bytes) -> Result<Whole, Malformed> {
        let short = |_| Malformed("a request that ends early");
        let set = |bytes: &[u8]| SlotSet::decode(bytes, SLOTS).map_err(|error| Malformed(error.0));
        match head.kind {
            Kind::Scan => {
                let cursor = body.try_get_u64_le().map_err(short)?;
                let request = Parsed::read(&body)?;
                let is_scan = matches!(request.command.run, Run::Scan(_));
                is_scan.then_some(Whole::Scan { cursor, request }).ok_or(Malformed("not a SCAN"))
            }
            Kind::Wait => {
                Ok(Whole::Wait { wanted: body.try_get_u32_le().map_err(short)? as usize, slots: set(&body)? })
            }
            Kind::Tell => Ok(Whole::Tell { question: Question::decode(body).map_err(|error| Malformed(error.0))? }),
            Kind::Verify => Ok(Whole::Verify { slots: set(&body)? }),
            Kind::Every | Kind::Command | Kind::Ping => {
                let set_bytes = body.try_get_u32_le().map_err(short)? as usize;
                if set_bytes > body.len() {
                    return Err(Malformed("a set of slots that ends early"));
                }
                let slots = set(&body.split_to(set_bytes))?;
                let request = Parsed::read(&body)?;
                let sweeps = matches!(request.command.run, Run::EverySlot(..) | Run::AnySlot(_));
                sweeps.then_some(Whole::Sweep { slots, request }).ok_or(Malformed("not about all slots"))
            }
        }
    }

    pub(super) async fn run(self, router: &Router, head: Head, out: &mut Output) -> Status {
        match self {
            Whole::Sweep { slots, request } => router.sweep(request.whole(head), &slots).await.encode(out),
            Whole::Scan { cursor, request } => match router.scan_step(request.whole(head), cursor) {
                Some(step) => step.encode(out),
                None => return Status::NotExecuted,
            },
            Whole::Wait { wanted, slots } => {
                let time = Duration::from_millis(head.deadline_ms.into());
                match router.copies_here(&slots, wanted, time).await {
                    Some(copies) => out.raw(&(copies as u32).to_le_bytes()),
                    None => return Status::NotExecuted,
                }
            }
            Whole::Tell { question } => router.tell_here(head.slot, &question, out),
            Whole::Verify { slots } => match router.verify_here(&slots).await {
                Some(verified) => verified.encode(out),
                None => return Status::NotExecuted,
            },
        }
        Status::Executed
    }
}

impl Parsed {
    fn read(body: &[u8]) -> Result<Parsed, Malformed> {
        let (mut bytes, mut spans) = (BytesMut::from(body), Vec::new());
        let command = scan(&mut bytes, &mut spans)?;
        Ok(Parsed { command, bytes, spans })
    }

    fn whole(&self, head: Head) -> WholeRequest<'_> {
        WholeRequest { command: self.command, request: Request::new(&self.bytes, &self.spans), mode: head.mode }
    }
}
