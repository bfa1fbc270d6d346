//! What other nodes send over links, for the fuzz targets.

use bytes::{Bytes, BytesMut};

use super::{
    frame::{self, Kind, REPLY_FIELDS, REQUEST_FIELDS},
    serve,
    whole::{ScanStep, Swept},
};
use crate::resp::Output;

/// Bodies of answers about many slots.
pub(crate) fn answers(body: &Bytes) {
    if let Ok(swept) = Swept::decode(body) {
        swept.encode(&mut Output::default());
    }
    if let Ok(step) = ScanStep::decode(body) {
        step.encode(&mut Output::default());
    }
}

/// A stream of frames, read as requests and as replies: as it is, and with checks that hold.
pub(crate) fn frames(input: &mut BytesMut) {
    requests(&mut frame::sealed(input, REQUEST_FIELDS));
    replies(&mut frame::sealed(input, REPLY_FIELDS));
    replies(&mut input.clone());
    requests(input);
}

fn requests(input: &mut BytesMut) {
    while let Ok(Some((head, frame))) = frame::next_request(input) {
        match head.kind {
            Kind::Command => serve::read_command(head, frame),
            Kind::Every | Kind::Scan | Kind::Wait | Kind::Verify | Kind::Tell => {
                serve::read_whole(head, frame.freeze())
            }
            Kind::Ping => {}
        }
    }
}

fn replies(input: &mut BytesMut) {
    while let Ok(Some(_)) = frame::next_reply(input) {}
}
