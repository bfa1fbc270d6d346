//! Replies that come in another order than they leave.

use std::ops::Range;

use bytes::Bytes;

use super::{
    Protocol, Reply,
    output::{Output, SHARED_BYTES},
};

/// The elements of an array, put in place one by one, each encoded when it comes. All small ones share one allocation.
#[derive(Debug)]
pub struct Pieces {
    small: Output,
    places: Vec<Piece>,
    protocol: Protocol,
}

#[derive(Clone, Debug)]
enum Piece {
    Missing,
    Small(Range<usize>),
    Large(Bytes),
}

impl Pieces {
    /// An array of so many elements, none of them there yet, to be written to an output with this limit (0: none).
    pub fn new(length: usize, protocol: Protocol, limit: usize) -> Pieces {
        let mut small = Output::default();
        small.limit_to(limit);
        Pieces { small, places: vec![Piece::Missing; length], protocol }
    }

    /// The element of this place. When there is more than the output may hold, nothing is kept any more.
    pub fn put(&mut self, place: usize, reply: Reply<'_>) {
        if self.small.cuts() {
            return;
        }
        let piece = match reply {
            Reply::Shared(bytes) if bytes.len() >= SHARED_BYTES => Piece::Large(bytes),
            Reply::Blob(bytes) if bytes.len() >= SHARED_BYTES => Piece::Large(bytes.into()),
            small => {
                let start = self.small.len();
                self.small.reply(small, self.protocol);
                Piece::Small(start..self.small.len())
            }
        };
        self.places[place] = piece;
    }

    /// Appends the array. An element that never came is null.
    pub fn write(mut self, out: &mut Output) {
        if self.small.is_cut() {
            return out.cut();
        }
        out.array_head(self.places.len());
        for piece in self.places {
            match piece {
                Piece::Missing => out.reply(Reply::Null, self.protocol),
                Piece::Small(range) => out.raw(&self.small.tail()[range]),
                Piece::Large(bytes) => out.reply(Reply::Shared(bytes), self.protocol),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_leave_in_their_places() {
        let large = Bytes::from(vec![b'x'; SHARED_BYTES]);
        let mut pieces = Pieces::new(4, Protocol::Resp3, 0);
        pieces.put(3, Reply::Integer(3));
        pieces.put(1, Reply::Shared(large.clone()));
        pieces.put(0, Reply::Bulk(b"a"));
        let (mut out, mut expected) = (Output::default(), Output::default());
        pieces.write(&mut out);
        let array = vec![Reply::Bulk(b"a"), Reply::Shared(large), Reply::Null, Reply::Integer(3)];
        expected.reply(Reply::Array(array), Protocol::Resp3);
        assert_eq!(out.to_vec(), expected.to_vec());
    }

    #[test]
    fn elements_beyond_the_limit_take_no_memory() {
        let mut pieces = Pieces::new(1000, Protocol::Resp2, 4000);
        (0..1000).for_each(|place| pieces.put(place, Reply::Bulk(&[b'x'; 1000])));
        assert!(pieces.small.memory_bytes() < 16_000, "{} bytes", pieces.small.memory_bytes());
        let mut out = Output::default();
        pieces.write(&mut out);
        assert!(out.is_cut() && out.is_empty());
    }
}
